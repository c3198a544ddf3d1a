"""Counts against products written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmark.profiling.complexity import count_gmac, count_parameters


def test_trainable_parameters_of_the_whole_and_of_its_children() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(7))
            self.register_buffer("constant", torch.zeros(100))
            self.first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
            self.second = nn.Linear(8, 5, bias=False)
            self.tied = nn.Linear(8, 5)
            self.tied.weight = self.second.weight
            self.frozen = nn.Linear(4, 4).requires_grad_(False)

    first = 3 * 8 * 9 + 8 + 2 * 8
    expected = {"total": 7 + first + 40 + 5, "first": first, "second": 40, "tied": 45, "frozen": 0}
    assert count_parameters(Net()) == expected


def test_a_child_called_total_is_refused() -> None:
    with pytest.raises(ValueError, match="total"):
        count_parameters(nn.ModuleDict({"total": nn.Linear(2, 2)}))


def test_convolutions_and_products_are_counted_and_elementwise_work_is_not() -> None:
    with torch.device("meta"):
        conv, image = (
            nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=4),
            torch.zeros(2, 16, 64, 48),
        )
        rows, matrix = torch.zeros(10, 20), torch.zeros(20, 30)
    convolution, product = 2 * 32 * 24 * 32 * (16 // 4) * 9, 10 * 20 * 30

    def call() -> None:
        F.interpolate(F.relu(conv(image)), scale_factor=2)
        rows @ matrix

    assert count_gmac(call) == (convolution + product) / 1e9


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_fused_attention_counts_in_every_grad_mode(context: type) -> None:
    heads, tokens, width = 2, 64, 16
    attention = nn.Linear(width, 3 * heads * width)
    given = torch.randn(1, tokens, width)

    def call() -> None:
        query, key, value = attention(given).unflatten(-1, (3, heads, width)).permute(2, 0, 3, 1, 4)
        F.scaled_dot_product_attention(query, key, value)

    with context():
        assert (
            count_gmac(call)
            == (tokens * width * 3 * heads * width + 2 * heads * tokens * tokens * width) / 1e9
        )
