"""A cache of what was computed from parameters, kept until they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from methods.parts.precision import no_autocast


class FoldCache:
    """Keep what was computed from weights in eval mode, such as merged kernels.

    A value is remade when any source tensor was written to or replaced: the key holds each
    source's address and version counter, so `load_state_dict`, an optimiser step and a move to
    another device all count. With gradients enabled nothing is kept.

    Example:
        >>> weight, cache = torch.ones(2), FoldCache()
        >>> with torch.no_grad():
        ...     first = cache.get([weight], lambda: weight * 2)
        ...     same = cache.get([weight], lambda: weight * 2) is first
        ...     changed = cache.get([weight.add_(1)], lambda: weight * 2)
        >>> same, changed
        (True, tensor([4., 4.]))
    """

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._value: Any = None

    def clear(self) -> None:
        """Forget the value."""
        self._key = self._value = None

    def get(self, sources: Sequence[Tensor], make: Callable[[], Any], size: Any = None) -> Any:
        """Return `make()`, or what it returned when `sources` and `size` were last the same.

        It is always made in full precision. Only the last size is kept.
        """
        device = sources[0].device
        if torch.is_grad_enabled() or any(source.is_inference() for source in sources):
            # the value stays part of the graph; inference tensors have no version counter
            with no_autocast(device):
                return make()
        versions = [(source.data_ptr(), source._version, source.dtype) for source in sources]
        key = (size, *versions)
        if key != self._key:
            # an ordinary tensor even under inference mode, so that code outside may use it
            with torch.inference_mode(False), torch.no_grad(), no_autocast(device):
                self._value = make()
            self._key = key
        return self._value

    def __deepcopy__(self, memo: dict[int, Any]) -> FoldCache:
        """A copied module starts with an empty cache."""
        return FoldCache()

    def __reduce__(self) -> tuple[type[FoldCache], tuple[()]]:
        """A pickled module too."""
        return (FoldCache, ())


class FoldingModule(nn.Module):
    """A module that keeps what it computed from its weights in `_fold`."""

    def __init__(self) -> None:
        super().__init__()
        self._fold = FoldCache()

    def train(self, mode: bool = True) -> Self:
        """Switch mode; a new eval phase folds anew."""
        self._fold.clear()
        return super().train(mode)
