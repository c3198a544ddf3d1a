"""Keeping what was computed from parameters until the parameters change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from methods.parts.precision import no_autocast


class FoldCache:
    """Holds tensors derived from weights (merged kernels, folded norms) between calls in eval mode.

    A fold is remade when any source tensor was written to or replaced: the key is each source's address and version
    counter, so `load_state_dict`, an optimiser step and a move to another device all count. With gradients enabled
    nothing is kept, and the fold stays part of the graph. Kept tensors are ordinary ones even when they are first
    asked for under inference mode, so that code outside of it may use them.
    """

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._value: Any = None

    def clear(self) -> None:
        """Forget the fold."""
        self._key = self._value = None

    def get(self, sources: Sequence[Tensor], make: Callable[[], Any]) -> Any:
        """`make()`, or what it returned when the `sources` were last as they are now; always made in full precision."""
        device = sources[0].device
        if torch.is_grad_enabled() or any(source.is_inference() for source in sources):
            with no_autocast(device):
                return make()
        key = tuple((source.data_ptr(), source._version, source.dtype) for source in sources)
        if key != self._key:
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
