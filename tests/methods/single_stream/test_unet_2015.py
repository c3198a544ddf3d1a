"""The paper's U-Net: contract, counts, and a plain implementation of it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from benchmark.profiling.complexity import count_parameters
from methods.single_stream.unet import UNet
from tests.support.single_stream import SingleStreamContract, randomise


class TestUNet2015(SingleStreamContract):
    options = {"architecture": "unet_2015", "width": 4}
    counts = (2, 3, 4)


def test_counts_of_parts_and_without_batch_norm():
    with torch.device("meta"):
        found = count_parameters(UNet([3], 6))
        plain, smallest = UNet([3], 6, batch_norm=False), UNet([1], 2, batch_norm=False)
    assert found["first"] + found["finest"] + found["contract"] == 18_847_168
    assert (found["rises"], found["expand"], found["head"]) == (2_786_240, 9_404_160, 390)
    assert count_parameters(plain)["total"] == 31_032_070
    assert count_parameters(smallest)["total"] == 31_030_658


@pytest.mark.parametrize("batch_norm", [True, False])
def test_network_against_loops(batch_norm):
    torch.manual_seed(0)
    model = UNet([3, 1], 5, width=4, batch_norm=batch_norm).eval()
    randomise(model)
    # of a level: its two convolutions, each with what follows
    state, image = model.state_dict(), torch.randn(2, 4, 48, 80)

    def conv(name, norm, maps):
        bias = None if batch_norm else state[f"{name}.bias"]
        maps = F.conv2d(maps, state[f"{name}.weight"], bias, padding=1)
        if batch_norm:
            values = [state[f"{norm}.{part}"] for part in ("running_mean", "running_var")]
            values += [state[f"{norm}.{part}"] for part in ("weight", "bias")]
            mean, variance, gain, shift = (value[:, None, None] for value in values)
            maps = gain * (maps - mean) / (variance + 1e-5).sqrt() + shift
        return maps.clamp(min=0)

    def level(name, maps):
        second = 3 if batch_norm else 2
        maps = conv(f"{name}.0", f"{name}.1", maps)
        return conv(f"{name}.{second}", f"{name}.{second + 1}", maps)

    with torch.inference_mode():
        second = 2 if batch_norm else 1
        maps = conv("first.0", "finest.0", image)
        maps = conv(f"finest.{second}", f"finest.{second + 1}", maps)
        skips = []
        for depth in range(4):
            skips.append(maps)
            halved = maps.unflatten(2, (-1, 2)).amax(3).unflatten(3, (-1, 2)).amax(4)
            maps = level(f"contract.{depth}", halved)
        for depth in range(4):
            weight, bias = state[f"rises.{depth}.weight"], state[f"rises.{depth}.bias"]
            cells = torch.einsum("bcyx,cdij->bdyixj", maps, weight)
            risen = cells.flatten(4, 5).flatten(2, 3) + bias[:, None, None]
            # the skip's channels first
            maps = level(f"expand.{depth}", torch.cat([skips.pop(), risen], 1))
        expected = F.conv2d(maps, state["head.weight"], state["head.bias"])
        logits, none = model([model.first[0](image)])
    assert logits.shape == (2, 5, 48, 80) and none == []
    largest = float(expected.abs().max())
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5 * largest)


def test_without_batch_norm_a_bias_is_added_once():
    module = TestUNet2015.make({"rgb": 3, "dsm": 1}, batch_norm=False).eval()
    conv, given = module.network.model.first[0], torch.zeros(1, 3, 32, 32)
    torch.nn.init.normal_(conv.bias)
    with torch.inference_mode():
        both = module({"rgb": given, "dsm": torch.zeros(1, 1, 32, 32)})
        blank = module.network.model([conv(torch.zeros(1, 4, 32, 32))])[0]
        torch.testing.assert_close(both, blank)
        torch.testing.assert_close(module({"rgb": given}), both)
