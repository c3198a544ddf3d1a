"""What a network costs: parameters and multiply-accumulates, counted on the built module.

A layer `read` makes the output, an auxiliary `head` only a loss. What the output is made from are
the leaves of its graph, so nobody has to list what inference needs:

    >>> net = nn.ModuleDict({"read": nn.Linear(4, 3), "head": nn.Linear(4, 9)})
    >>> images = torch.zeros(2, 4)
    >>> used = parameters_in_graph(net, lambda: [net["read"](images)])
    >>> [tuple(weight.shape) for weight in used]
    [(3, 4), (3,)]
    >>> count_parameters(net)
    {'total': 60, 'read': 15, 'head': 45}
    >>> count_gmac(lambda: net["read"](images)) == 2 * 4 * 3 / 1e9
    True
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from inspect import getmembers, isfunction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

TOTAL = "total"
_counter = partial(FlopCounterMode, display=False)


def count_parameters(module: nn.Module) -> dict[str, int]:
    """Count trainable parameters: `total`, and one entry for each direct child.

    Parameters that children share are in the entry of each and once in the total.
    """
    children = dict(module.named_children())
    if TOTAL in children:
        raise ValueError(f"{type(module).__name__} has a child called {TOTAL}")
    return {name: count_trainable(part) for name, part in ({TOTAL: module} | children).items()}


def count_trainable(module: nn.Module) -> int:
    """Count the parameters that training changes."""
    return count_elements(p for p in module.parameters() if p.requires_grad)


def count_elements(tensors: Iterable[Tensor]) -> int:
    """Count the elements of tensors."""
    return sum(map(Tensor.numel, tensors))


def count_gmac(call: Callable[[], object]) -> float:
    """Count the multiply-accumulates of `call()` in 1e9, half the FLOPs.

    Matrix products, convolutions and fused attention count; elementwise work, norms and
    interpolation do not. Modules are counted in the mode they are in. The `meta` device will do.
    """
    # Without gradients fused attention would count as 0. With them, what a module keeps between
    # calls only without gradients (`methods.parts.kernel_folding`) is made anew and counted.
    with torch.inference_mode(False), torch.enable_grad(), _counter() as counter:
        call()
    return counter.get_total_flops() / 2e9


def evaluation_gmac(call: Callable[[], object], warm: bool = False) -> float:
    """Count the multiply-accumulates of `call()` in 1e9 as evaluation computes it.

    Unless `warm`, it runs twice and the second time counts, so that folded weights and the features
    of a blank sensor are there, as in every window but the first.
    """
    # the counter sees attention without gradients only as two products
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        if not warm:
            call()
        with _counter() as counter:
            call()
    return counter.get_total_flops() / 2e9


def frozen_buffers(module: nn.Module) -> list[Tensor]:
    """List floating-point buffers that no training changes and no checkpoint holds."""
    saved = module.state_dict(keep_vars=True).keys()
    named = module.named_buffers()
    return [value for name, value in named if value.is_floating_point() and name not in saved]


def parameters_in_graph(module: nn.Module, call: Callable[[], Iterable[Tensor]]) -> list[Tensor]:
    """List the weights, frozen ones included, that the tensors of `call()` are made from.

    What only a loss reads (discriminators, auxiliary heads) is none of them.
    """
    weights = [*module.parameters(), *frozen_buffers(module)]
    # frozen weights are leaves of the graph only while they require a gradient
    frozen = [weight for weight in weights if not weight.requires_grad]
    try:
        for weight in frozen:
            weight.requires_grad_(True)
        with torch.inference_mode(False), torch.enable_grad():
            found = _leaves(tensor.grad_fn for tensor in call())
    finally:
        for weight in frozen:
            weight.requires_grad_(False)
    return [weight for weight in weights if id(weight) in found]


def _leaves(roots: Iterable[Any]) -> set[int]:
    """Collect the ids of the tensors at the ends of autograd graphs."""
    waiting, seen, found = list(roots), set[Any](), set[int]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        waiting += (parent for parent, _ in node.next_functions)
    return found


@contextmanager
def gmac_by_module(parts: Mapping[str, nn.Module]) -> Iterator[dict[str, float]]:
    """Within, sum the multiply-accumulates in 1e9 of every call of a public method of a part.

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
                with _counter() as counter:
                    return method(*arguments, **options)
            finally:
                inside.discard(name)
                found[name] += counter.get_total_flops() / 2e9

        return run

    changed = []
    for name, part in parts.items():
        # `forward`, and the public methods beyond those of every module
        for key, _ in getmembers(type(part), isfunction):
            if key == "forward" or not (key.startswith("_") or hasattr(nn.Module, key)):
                setattr(part, key, watched(name, getattr(part, key)))
                changed.append((part, key))
    try:
        yield found
    finally:
        for part, key in changed:
            delattr(part, key)
