"""MAResU-Net: contract, counts, and the network written out with plain operations."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from benchmark.profiling.complexity import count_parameters
from methods.single_stream.maresunet import MAResUNet
from tests.support.single_stream import (
    RESNET,
    SingleStreamContract,
    Twin,
    randomise,
    silent_at_the_start,
)


class TestMAResUNet(SingleStreamContract):
    options = {**RESNET, "architecture": "maresunet"}


def test_counts_of_parts():
    with torch.device("meta"):
        model, released = (MAResUNet([3], 6, name) for name in ("resnet18", "resnet34"))
    blocks = [count_parameters(block)["total"] for block in model.attention]
    assert blocks == [54_610, 217_762, 869_698, 3_476_098]
    rises = [count_parameters(rise)["total"] for rise in model.rises]
    assert rises == [247_296, 62_208, 15_744, 4_640]
    assert count_parameters(model)["head"] == 43_782
    assert count_parameters(released)["total"] == 26_276_510


def test_a_first_step_leaves_the_maps_of_the_linear_attentions():
    expected = set()
    for level in range(4):
        for part in ("query", "key", "value"):
            name = f"attention.{level}.pixels.{part}"
            expected |= {f"{name}.weight", f"{name}.bias"}
    assert silent_at_the_start(TestMAResUNet.options) == expected


class NetworkTwin(Twin):
    """The equations of the dossier, section 9, without dropout."""

    def point(self, name, maps):
        return self.conv(f"{name}.1", maps).clamp(min=0)

    def attend(self, name, maps):
        h = self.conv(f"{name}.conv", maps, padding=1).clamp(min=0)
        rows = h.flatten(2)
        alike = torch.einsum("bcn,bdn->bcd", rows, rows)
        weights = (alike.amax(2, keepdim=True) - alike).softmax(2)
        channels = torch.einsum("bcd,bdn->bcn", weights, rows).unflatten(2, h.shape[2:])
        channels = h + self.state[f"{name}.channels.gamma"] * channels
        pixels = h + self.attention(f"{name}.pixels", h)
        both = self.point(f"{name}.after_pixels", pixels)
        both = both + self.point(f"{name}.after_channels", channels)
        return self.point(f"{name}.together", both)

    def transposed(self, name, maps, **how):
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return F.conv_transpose2d(maps, weight, bias, stride=2, padding=1, **how)

    def rise(self, number, maps):
        name = f"rises.{number}"
        maps = self.norm(f"{name}.1", self.conv(f"{name}.0", maps)).clamp(min=0)
        maps = self.transposed(f"{name}.3", maps, output_padding=1)
        maps = self.norm(f"{name}.4", maps).clamp(min=0)
        return self.norm(f"{name}.7", self.conv(f"{name}.6", maps)).clamp(min=0)

    def __call__(self, image):
        levels = self.module.pyramid(self.module.first[0](image))
        e1, e2, e3, e4 = (self.attend(f"attention.{i}", level) for i, level in enumerate(levels))
        d2 = self.rise(2, self.rise(1, self.rise(0, e4) + e3) + e2) + e1
        maps = self.transposed("head.0", self.rise(3, d2)).clamp(min=0)
        maps = self.conv("head.2", maps, padding=1).clamp(min=0)
        return self.conv("head.4", maps, padding=1)


@pytest.mark.parametrize("size", [(64, 64), (128, 96)])
def test_network_against_its_equations(size):
    torch.manual_seed(0)
    model = MAResUNet([3, 1], 5, RESNET["backbone"]).eval()
    randomise(model)
    image = torch.randn(2, 4, *size)
    with torch.inference_mode():
        expected = NetworkTwin(model)(image)
        logits, none = model([model.first[0](image)])
    assert logits.shape == (2, 5, *size) and none == []
    largest = float(expected.abs().max())
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5 * largest)
