"""Floating-point operations of products and convolutions, two a multiply-accumulate."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.profiling.complexity import evaluation_gmac
from benchmark.profiling.step_products import convolution_gradients


def count_training(step: Callable[[], object]) -> int:
    """Count a step, forward and backward, fused attention as two products and their gradients."""
    mapping = {torch.ops.aten.convolution_backward: convolution_gradients}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    # what fused attention computes again to save memory is no work of the network
    with sdpa_kernel(SDPBackend.MATH), counter:
        step()
    return counter.get_total_flops()


def count_evaluation(call: Callable[[], object]) -> float:
    """Count a call without gradients, what is kept between windows left out."""
    return 2e9 * evaluation_gmac(call)
