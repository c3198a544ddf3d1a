"""FuseNet: the contract, the dossier's counts, and its sums written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.vgg16.fusenet import FuseNetNetwork
from methods.vgg16.module import FuseNet
from tests.support.method_checks import (
    THREE,
    images,
)
from tests.support.streams import StreamContract, build_on_meta, doubled
from tests.support.vgg16 import highest, run_block, run_decoder, settle
from usererror import UserError


class TestFuseNet(StreamContract):
    method = FuseNet
    options = {"backbone": "vgg16_w8", "pretrained": False}


make = TestFuseNet.make


@pytest.mark.parametrize(
    ("channels", "total"),
    [([3, 1], 44_168_454), ([3, 1, 1], 58_890_438), ([3, 1, 3, 3], 73_614_726)],
)
def test_parameters_of_the_dossier(channels, total):
    assert count_parameters(build_on_meta(FuseNetNetwork, channels))["total"] == total


def test_closed_form_of_other_channels_and_classes():
    found = count_parameters(build_on_meta(FuseNetNetwork, [4, 2, 5], 11))["total"]
    assert found == 3 * 14_721_408 + 576 * 11 + 577 * 11 + 14_719_872


def test_multiply_accumulates():
    network = build_on_meta(FuseNetNetwork, [3, 1])
    sizes = {"sensor0": 3, "sensor1": 1}
    given = {m: torch.empty(1, count, 256, 256, device="meta") for m, count in sizes.items()}
    assert count_gmac(lambda: network(given)) == pytest.approx(60.171, abs=1e-3)
    encoded = network.encode(given)
    assert count_gmac(lambda: network.fuse(encoded)) == pytest.approx(37.7, abs=0.05)


@pytest.mark.parametrize(("fusion", "share"), [("sum", 1.0), ("mean", 1 / 3)])
@torch.no_grad()
def test_the_sums_of_all_encoders_in_plain_operations(fusion, share):
    network, given = make(fusion=fusion).eval().double().network, doubled((64, 96))
    settle(network)
    maps, places = dict(given), []
    for level in range(5):
        for m, encoder in network.encoders.items():
            maps[m] = run_block(encoder.blocks[level], maps[m], "bn_relu")
        maps["rgb"], place = highest(share * (maps["rgb"] + maps["dsm"] + maps["sar"]))
        places.append(place)
        for m in ("dsm", "sar"):
            maps[m] = highest(maps[m])[0]
    expected = run_decoder(network.decoder, maps["rgb"], places, None, "bn_relu")
    torch.testing.assert_close(network(given), expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_silent_auxiliary_encoders_leave_segnet():
    network, given = make().eval().double().network, doubled((64, 64))
    for m in ("dsm", "sar"):
        for part in network.encoders[m].modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.zeros_(part.weight)
                nn.init.zeros_(part.bias)
    state, places = given["rgb"], []
    for block in network.encoders["rgb"].blocks:
        state, place = highest(run_block(block, state, "bn_relu"))
        places.append(place)
    expected = run_decoder(network.decoder, state, places, None, "bn_relu")
    torch.testing.assert_close(network(given), expected, rtol=1e-9, atol=1e-9)


def test_dropout_is_where_it_was_published():
    network, calls = make(dropout=0.25).train().network, []
    dropouts = {id(part): part for part in network.modules() if isinstance(part, nn.Dropout)}
    for part in dropouts.values():
        assert part.p == 0.25
        part.register_forward_hook(lambda _, given, __: calls.append(tuple(given[0].shape[1:])))
    network(images(THREE, size=(64, 64)))
    auxiliary = [(32, 8, 8), (64, 4, 4)]
    assert calls == [*2 * auxiliary, *auxiliary, (64, 2, 2), (64, 4, 4), (32, 8, 8), (16, 16, 16)]


@torch.no_grad()
def test_it_starts_as_published():
    network = make(backbone="vgg16_w16").network
    gains = [part.weight for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    assert torch.cat(gains).std() == pytest.approx(0.02, rel=0.1)
    last = network.decoder.blocks[0][0]
    assert not last.bias.any()
    assert last.weight.std() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.05)


@torch.no_grad()
def test_sides_that_the_authors_sizes_have():
    module = make().eval()
    for side in (96, 112):
        assert module(images(THREE, 1, (side, side))).shape[2:] == (side, side)


def test_another_fusion_is_refused():
    with pytest.raises(UserError, match="neither sum nor mean"):
        make(fusion="max")
