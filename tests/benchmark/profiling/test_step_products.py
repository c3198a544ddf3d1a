"""Products of a step by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmark.profiling.live_memory import FusedAttention
from benchmark.profiling.step_products import StepProducts


@pytest.mark.parametrize("groups", [1, 4])
def test_a_convolution_and_its_two_gradients_cost_the_same(groups: int) -> None:
    layer = nn.Conv2d(8, 16, 3, padding=1, groups=groups, device="meta")
    image = torch.empty(2, 8, 10, 10, device="meta", requires_grad=True)
    with StepProducts() as products:
        layer(image).sum().backward()
    forward = 2 * (2 * 16 * 10 * 10) * (8 // groups) * 9
    assert products.flops == 3 * forward


def test_attention_is_two_products_and_their_gradients_with_one_of_them_again() -> None:
    batch, heads, tokens, width = 2, 3, 50, 16
    parts = torch.empty(3, batch, heads, tokens, width, device="meta", requires_grad=True)
    with FusedAttention(), StepProducts() as products:
        F.scaled_dot_product_attention(*parts).sum().backward()
    assert products.flops == (2 + 5) * 2 * batch * heads * tokens * tokens * width
