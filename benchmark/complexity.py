"""What a network costs: trainable parameters and multiply-accumulates, counted on the built module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

TOTAL = "total"


def parameters(module: nn.Module) -> dict[str, int]:
    """Trainable parameters: `total`, and one entry for each direct child.

    Parameters of the module itself are in the total only; one that children share is in the entry of each and once in
    the total.

    Raises:
        ValueError: a child is called `total`.
    """
    children = dict(module.named_children())
    if TOTAL in children:
        raise ValueError(f"{type(module).__name__} has a child called {TOTAL}")
    return {TOTAL: _trainable(module), **{name: _trainable(child) for name, child in children.items()}}


def _trainable(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def gmac(call: Callable[[], object]) -> float:
    """Multiply-accumulates of `call()` in 1e9: half the FLOPs of matrix products, convolutions and fused attention.

    Whatever the caller's grad mode, gradients are enabled within: without them fused attention counts as 0. Modules are
    counted in the mode they are in; published figures are for eval mode. What a module keeps between calls only without
    gradients (`methods.parts.folding`) is therefore part of every count. Elementwise work, norms and interpolation
    count nothing, and the `meta` device will do.
    """
    with torch.inference_mode(False), torch.enable_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2e9
