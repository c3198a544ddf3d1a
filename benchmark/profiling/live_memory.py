"""How many bytes of tensors live at a time: followed, not allocated, so that `meta` will do.

Of a linear layer the input stays for the backward pass, the layer itself lived before:

    >>> layer = torch.nn.Linear(1024, 1024, bias=False, device="meta")
    >>> with LiveMemory("meta") as live:
    ...     made = layer(torch.empty(1024, 1024, device="meta"))
    >>> live.now / 2**20, live.peak / 2**20
    (8.0, 8.0)
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# CUDA's allocator rounds up to such blocks
BLOCK = 512


class LiveMemory(TorchDispatchMode):
    """Within, follow the bytes of all tensors that operations make on a kind of device.

    What lived before is not counted, nor what an operation needs for itself.

    Attributes:
        now: bytes that live.
        peak: most bytes that lived at a time.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.now, self.peak = device, 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and follow what it returns."""
        made = func(*args, **(kwargs or {}))
        # a view of what lived before is nothing new
        given = {storage._cdata for storage in self._storages((args, kwargs))}
        for storage in self._storages(made):
            if storage._cdata not in given and storage._cdata not in self._known:
                self._follow(storage)
        return made

    def _storages(self, values: Any) -> Iterator[torch.UntypedStorage]:
        for value in tree_leaves(values):
            if isinstance(value, Tensor) and value.device.type == self.device:
                yield value.untyped_storage()

    def _follow(self, storage: torch.UntypedStorage) -> None:
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self._known.add(storage._cdata)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage._cdata, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


class FusedAttention(TorchFunctionMode):
    """Within, `scaled_dot_product_attention` keeps no matrix of weights, as on a GPU.

    The `meta` device would take the plain way, whose matrices are most of a step of a transformer.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace one function."""
        # the kernels know four dimensions only
        fused = func is F.scaled_dot_product_attention and args[0].ndim == 4
        return (_memory_efficient if fused else func)(*args, **(kwargs or {}))


def _memory_efficient(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    if attn_mask is not None:
        # a mask of bools becomes numbers, as in torch's own function
        bias = attn_mask.to(query.dtype) if attn_mask.dtype == torch.bool else attn_mask
        attn_mask = bias.expand(*query.shape[:-1], key.shape[-2])
    parts = (query, key, value, attn_mask)
    fused = torch.ops.aten._scaled_dot_product_efficient_attention
    options = (torch.is_grad_enabled(), dropout_p, is_causal)
    attended: Tensor = fused(*parts, *options, scale=scale)[0]
    return attended
