"""ABCNet: contract, counts, and the network written out with plain operations."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmark.profiling.complexity import count_parameters
from methods.single_stream.abcnet import ABCNet, ShuffleHead
from tests.support.method_checks import (
    training_batch,
)
from tests.support.single_stream import (
    RESNET,
    SingleStreamContract,
    Twin,
    leave_zero_starts,
    randomise,
    silent_at_the_start,
)


class TestABCNet(SingleStreamContract):
    options = {**RESNET, "architecture": "abcnet"}


def test_counts_of_parts():
    with torch.device("meta"):
        model = ABCNet([3], 6, "resnet18")
    found = count_parameters(model)
    spatial = 9_408
    assert count_parameters(model.first)["total"] == 9_408 + spatial
    assert found["pyramid"] + 9_408 == 11_176_512
    assert (found["enhance16"], found["enhance32"]) == (316_065, 610_977)
    assert (found["smooth16"], found["smooth32"], found["average"]) == (147_712, 147_712, 65_792)
    assert found["spatial"] + spatial == 91_968
    assert found["mix"] + found["attention"] == 148_289
    assert (found["head"], found["auxiliary16"], found["auxiliary32"]) == (689_024, 98_816, 173_696)


def test_a_first_step_leaves_what_stands_behind_the_factors_of_zero():
    """Trap (a) of the dossier: exactly these, and none of them later (the contract)."""
    expected = set()
    for name in ("enhance32", "enhance16"):
        expected |= {f"{name}.0.0.weight", f"{name}.0.1.weight", f"{name}.0.1.bias"}
        expected.add(f"{name}.2.weight")
        for part in ("query", "key", "value"):
            expected |= {f"{name}.1.{part}.weight", f"{name}.1.{part}.bias"}
    for part in ("query", "key", "value"):
        expected |= {f"attention.{part}.weight", f"attention.{part}.bias"}
    assert silent_at_the_start(TestABCNet.options) == expected


def test_one_sample_is_refused_in_training():
    module = TestABCNet.make({"rgb": 3}).train()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        module.training_losses(training_batch({"rgb": 3}, batch=1))


def test_a_head_classifies_each_pixel_of_a_cell_by_itself():
    torch.manual_seed(0)
    head = ShuffleHead(4, 6, 3, 8).eval()
    leave_zero_starts(head)
    maps = torch.randn(1, 4, 5, 6)
    with torch.inference_mode():
        before = head[1](head[0](maps))
        found = head(maps)
        for label in range(3):
            for row in range(8):
                for column in range(8):
                    one = before[:, 64 * label + 8 * row + column]
                    assert torch.equal(found[:, label, row::8, column::8], one)
        # on a constant map the pattern repeats, away from the border
        flat = head(torch.ones(1, 4, 5, 5))[..., 8:-8, 8:-8]
        assert torch.equal(flat[..., 8:, :], flat[..., :-8, :])
        assert torch.equal(flat[..., 8:], flat[..., :-8]) and flat.std() > 0


class NetworkTwin(Twin):
    """The equations of the dossier, section 8."""

    def enhance(self, name, maps):
        inner = self.attention(f"{name}.1", self.cbr(f"{name}.0", maps, padding=1))
        return self.norm(f"{name}.2", inner)

    def head(self, name, maps, scale):
        found = self.conv(f"{name}.1", self.cbr(f"{name}.0", maps, padding=1))
        cells = found.unflatten(1, (-1, scale, scale)).permute(0, 1, 4, 2, 5, 3)
        return cells.flatten(4, 5).flatten(2, 3)

    def __call__(self, image):
        f16, f32 = self.module.pyramid(self.module.first[0](image))[2:]
        g = self.cbr("average.1", f32.mean((2, 3), keepdim=True))
        twice = self.enhance("enhance32", f32) + g
        u32 = self.cbr("smooth32", F.interpolate(twice, scale_factor=2), padding=1)
        twice = self.enhance("enhance16", f16) + u32
        u16 = self.cbr("smooth16", F.interpolate(twice, scale_factor=2), padding=1)
        maps = self.conv("first.1", image, stride=2, padding=3)
        maps = self.norm("spatial.0", maps).clamp(min=0)
        for place in (2, 3):
            maps = self.cbr(f"spatial.{place}", maps, stride=2, padding=1)
        maps = self.cbr("spatial.4", maps)
        f = self.cbr("mix", torch.cat([maps, u16], 1))
        out = f * self.attention("attention", f) + f
        heads = [self.head("auxiliary16", u16, 8), self.head("auxiliary32", u32, 16)]
        return self.head("head", out, 8), heads


def test_network_against_its_equations():
    torch.manual_seed(0)
    model = ABCNet([3, 1], 5, RESNET["backbone"])
    randomise(model)
    image = torch.randn(2, 4, 64, 96)
    with torch.inference_mode():
        model.eval()
        expected, heads = NetworkTwin(model)(image)
        responses = [conv(image) for conv in model.first]
        logits, none = model(responses)
        assert logits.shape == (2, 5, 64, 96) and none == []
        check_close(logits, expected)
        model.training = True
        for found, auxiliary in zip(model(responses)[1], heads, strict=True):
            check_close(found, auxiliary)


def check_close(found, expected):
    largest = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * largest)


def test_initial_weights():
    torch.manual_seed(0)
    model = ABCNet([3], 5, RESNET["backbone"])
    for conv in (model.first[1], model.head[1], model.smooth32[0]):
        # Kaiming's rule with a slope of 1
        fan = conv.weight[0].numel()
        assert conv.weight.std().item() == pytest.approx(fan**-0.5, rel=0.1)
    assert isinstance(model.attention.gamma, nn.Parameter) and not model.attention.gamma.any()
