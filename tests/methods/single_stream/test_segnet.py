"""SegNet: contract, and an encoder and its mirror in plain operations."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from methods.vgg16.segnet import SegNet
from tests.support.single_stream import SingleStreamContract
from tests.support.vgg16 import highest, run_block, run_decoder, settle


class TestSegNet(SingleStreamContract):
    options = {"architecture": "segnet", "backbone": "vgg16_w8"}


@pytest.mark.parametrize("order", ["bn_relu", "relu_bn"])
@torch.no_grad()
def test_network_in_plain_operations(order):
    torch.manual_seed(0)
    model = SegNet([3, 1], 5, "vgg16_w8", order=order).eval().double()
    settle(model)
    image = torch.randn(2, 4, 64, 32).double()
    response = F.conv2d(image, model.first[0].weight, model.first[0].bias, padding=1)
    found, auxiliary = model([response])
    # back where it was taken out
    model.encoder.blocks[0][0] = model.first[0]
    state, places = image, []
    for block in model.encoder.blocks:
        state, place = highest(run_block(block, state, order))
        places.append(place)
    expected = run_decoder(model.decoder, state, places, None, order)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert auxiliary == []
