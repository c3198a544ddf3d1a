"""Attention of the networks of one image against explicit matrices."""

from __future__ import annotations

import pytest
import torch

from methods.single_stream.layers import ChannelAttention, LinearAttention
from tests.support.single_stream import Twin


def test_linear_attention_is_that_of_all_pairs():
    torch.manual_seed(0)
    layer, maps = LinearAttention(16).double(), torch.randn(2, 16, 5, 7, dtype=torch.float64)
    torch.nn.init.constant_(layer.gamma, 0.7)
    expected = Twin(torch.nn.ModuleDict({"one": layer})).attention("one", maps)
    # the released epsilon, 1e-6 a channel, is the only difference
    torch.testing.assert_close(layer(maps), expected, rtol=0, atol=1e-6)
    assert (expected - layer(maps)).abs().max() > 0


def test_pixels_without_a_direction_make_a_mean():
    layer = LinearAttention(8)
    torch.nn.init.ones_(layer.gamma)
    for part in (layer.query, layer.key):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.zeros_(part.bias)
    maps = torch.randn(1, 8, 4, 4)
    mean = layer.value(maps).mean((2, 3), keepdim=True).expand(-1, -1, 4, 4)
    torch.testing.assert_close(layer(maps), mean)


@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_channel_attention_is_the_softmax_of_differences(shift):
    torch.manual_seed(0)
    layer = ChannelAttention().double()
    maps = torch.randn(2, 6, 3, 4, dtype=torch.float64) + shift
    assert torch.equal(layer(maps), maps)
    torch.nn.init.constant_(layer.gamma, 0.3)
    rows = maps.flatten(2)
    expected = torch.zeros_like(rows)
    for sample in range(2):
        for channel in range(6):
            alike = (rows[sample] * rows[sample, channel]).sum(1)
            # the row's greatest minus S, less what cancels
            weights = (alike.min() - alike).exp()
            shares = weights / weights.sum()
            expected[sample, channel] = rows[sample, channel] + 0.3 * shares @ rows[sample]
    torch.testing.assert_close(layer(maps).flatten(2), expected)
