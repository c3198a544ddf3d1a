"""V-FuseNet: the contract, the dossier's counts, its equations written out, its symmetry."""

from __future__ import annotations

import pytest
import torch

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.vgg16.module import VFuseNet
from methods.vgg16.vfusenet import VFuseNetNetwork
from tests.support.streams import StreamContract, build_on_meta, doubled
from tests.support.vgg16 import highest, run_block, run_decoder, settle


class TestVFuseNet(StreamContract):
    method = VFuseNet
    options = {"backbone": "vgg16_w8", "pretrained": False}


make = TestVFuseNet.make


@pytest.mark.parametrize(
    ("channels", "total"),
    [
        ([3, 1], 58_963_590),
        ([3, 3], 58_964_742),
        ([3, 1, 1], 73_722_438),
        ([3, 1, 3, 3], 88_483_590),
    ],
)
def test_parameters_of_the_dossier(channels, total):
    assert count_parameters(build_on_meta(VFuseNetNetwork, channels))["total"] == total


def test_closed_form_of_other_channels_and_classes():
    found = count_parameters(build_on_meta(VFuseNetNetwork, [4, 2, 5], 11))["total"]
    real, virtual = 3 * 14_721_408 + 576 * 11, 36_864 * 3 + 14_721_408
    assert found == real + virtual + 577 * 11 + 14_719_872


@pytest.mark.parametrize(("heights", "gmac"), [(1, 84.935), (3, 85.010)])
def test_multiply_accumulates(heights, gmac):
    network = build_on_meta(VFuseNetNetwork, [3, heights])
    sizes = {"sensor0": 3, "sensor1": heights}
    given = {m: torch.empty(1, count, 256, 256, device="meta") for m, count in sizes.items()}
    assert count_gmac(lambda: network(given)) == pytest.approx(gmac, abs=1e-3)
    encoded = network.encode(given)
    assert count_gmac(lambda: network.fuse(encoded)) == pytest.approx(44.9, abs=0.05)


@torch.no_grad()
def test_the_virtual_encoder_in_plain_operations():
    network, given = make(order="relu_bn").eval().double().network, doubled((64, 96))
    settle(network)
    real, virtual, places = dict(given), None, []
    for level in range(5):
        for m, encoder in network.encoders.items():
            real[m] = run_block(encoder.blocks[level], real[m], "relu_bn")
        seen = torch.cat(list(real.values()), 1) if virtual is None else virtual
        total = run_block(network.virtual.blocks[level], seen, "relu_bn") + sum(real.values())
        virtual, place = highest(total)
        places.append(place)
        real = {m: highest(maps)[0] for m, maps in real.items()}
    expected = run_decoder(network.decoder, virtual, places, None, "relu_bn")
    torch.testing.assert_close(network(given), expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_two_sensors_may_change_their_places():
    """FuseNet has a main one, this has none."""
    two = {"rgb": 3, "dsm": 1}
    network, turned = (make(order).eval().double().network for order in (two, {"dsm": 1, "rgb": 3}))
    weights = network.state_dict()
    first = weights["virtual.blocks.0.0.weight"]
    weights["virtual.blocks.0.0.weight"] = torch.cat(first.chunk(2, 1)[::-1], 1)
    turned.load_state_dict(weights)
    given = {m: doubled((64, 64))[m] for m in two}
    torch.testing.assert_close(turned(given), network(given), rtol=1e-9, atol=1e-9)
