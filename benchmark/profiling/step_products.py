"""Multiply-accumulates of a training step, gradients included.

torch's `FlopCounterMode` follows modules too, which fails where a part of a step keeps no gradient,
and takes the gradients of a grouped convolution for those of a dense one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, shape_wrapper


class StepProducts(TorchDispatchMode):
    """Within, sum up `flops`, two a multiply-accumulate, of products, convolutions, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count it."""
        made = func(*args, **(kwargs or {}))
        if count := FORMULAS.get(func._overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=made)
        return made


def convolution_gradients(
    gradient: Sequence[int], image: Sequence[int], weight: Sequence[int], *given: Any, **_: Any
) -> int:
    """Count what a convolution's gradients take, from shapes; each as much as the convolution.

    torch's own formula takes a grouped convolution for a dense one.
    """
    transposed, wanted = given[4], given[7]
    places = image if transposed else gradient
    return 2 * prod(places) * prod(weight[1:]) * sum(wanted[:2])


FORMULAS = {**flop_registry}
FORMULAS[torch.ops.aten.convolution_backward] = shape_wrapper(convolution_gradients)
