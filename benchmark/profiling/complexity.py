"""What a network costs: parameters and multiply-accumulates, counted on the built module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from inspect import isfunction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

TOTAL = "total"


def count_parameters(module: nn.Module) -> dict[str, int]:
    """Trainable parameters: `total`, and one entry for each direct child.

    Parameters of the module itself are in the total only; one that children share is in the entry of each and once in
    the total.

    Raises:
        ValueError: a child is called `total`.
    """
    children = dict(module.named_children())
    if TOTAL in children:
        raise ValueError(f"{type(module).__name__} has a child called {TOTAL}")
    return {
        TOTAL: _trainable(module),
        **{name: _trainable(child) for name, child in children.items()},
    }


def _trainable(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def count_gmac(call: Callable[[], object]) -> float:
    """Multiply-accumulates of `call()` in 1e9: half the FLOPs of matrix products, convolutions and fused attention.

    Whatever the caller's grad mode, gradients are enabled within: without them fused attention counts as 0. Modules are
    counted in the mode they are in; published figures are for eval mode. What a module keeps between calls only without
    gradients (`methods.parts.kernel_folding`) is therefore part of every count. Elementwise work, norms and interpolation
    count nothing, and the `meta` device will do.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        FlopCounterMode(display=False) as counter,
    ):
        call()
    return counter.get_total_flops() / 2e9


def evaluation_gmac(call: Callable[[], object], warm: bool = False) -> float:
    """Multiply-accumulates of `call()` in 1e9 as evaluation computes it: no gradients, and what is kept is kept.

    `call` runs twice and the second time counts, so folded weights and the features of a blank sensor are there as in
    every window but the first; `warm` says that they are there already. Attention runs as two products, which the
    counter sees without gradients too; otherwise as `gmac`.
    """
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        if not warm:
            call()
        with FlopCounterMode(display=False) as counter:
            call()
    return counter.get_total_flops() / 2e9


def frozen_buffers(module: nn.Module) -> list[Tensor]:
    """Weights that no training changes and no checkpoint holds: floating-point buffers outside of the state."""
    saved = module.state_dict(keep_vars=True).keys()
    return [
        value
        for name, value in module.named_buffers()
        if value.is_floating_point() and name not in saved
    ]


def parameters_in_graph(module: nn.Module, call: Callable[[], Iterable[Tensor]]) -> list[Tensor]:
    """The weights, frozen ones included, that the tensors of `call()` are made from: the leaves of their graphs.

    What only a loss reads (discriminators, auxiliary heads) is none of them. The `meta` device will do.
    """
    weights = [*module.parameters(), *frozen_buffers(module)]
    before = [weight.requires_grad for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        with torch.inference_mode(False), torch.enable_grad():
            found = _leaves(tensor.grad_fn for tensor in call())
    finally:
        for weight, flag in zip(weights, before, strict=True):
            weight.requires_grad_(flag)
    return [weight for weight in weights if id(weight) in found]


def _leaves(roots: Iterable[Any]) -> set[int]:
    """Ids of the tensors at the ends of autograd graphs."""
    waiting, seen, found = [root for root in roots if root is not None], set(), set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        waiting += [parent for parent, _ in node.next_functions if parent is not None]
    return found


@contextmanager
def gmac_by_module(parts: Mapping[str, nn.Module]) -> Iterator[dict[str, float]]:
    """Within, every call of a public method of a part adds its multiply-accumulates in 1e9 to the part's entry.

    A method that a part calls of itself counts once.
    """
    found = dict.fromkeys(parts, 0.0)
    inside: set[str] = set()

    def watched(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def run(*arguments: Any, **options: Any) -> Any:
            if name in inside:
                return method(*arguments, **options)
            inside.add(name)
            try:
                with FlopCounterMode(display=False) as counter:
                    return method(*arguments, **options)
            finally:
                inside.discard(name)
                found[name] += counter.get_total_flops() / 2e9

        return run

    own = {name: _methods(part) for name, part in parts.items()}
    for name, part in parts.items():
        for key in own[name]:
            setattr(part, key, watched(name, getattr(part, key)))
    try:
        yield found
    finally:
        for name, part in parts.items():
            for key in own[name]:
                delattr(part, key)


def _methods(part: nn.Module) -> list[str]:
    """`forward`, and the public methods that a module has beyond those of every module."""
    added = [
        key for key in dir(type(part)) if not key.startswith("_") and not hasattr(nn.Module, key)
    ]
    return ["forward", *(key for key in added if isfunction(getattr(type(part), key)))]
