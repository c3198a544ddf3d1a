"""VGG-16 with batch norms and its mirror: torchvision's encoder, unpooling by scatter, counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from benchmark.profiling.complexity import count_parameters
from methods.vgg16.layers import (
    Decoder,
    Encoder,
    block_widths,
    make_block,
    make_encoder,
    pool_with_places,
)
from tests.support.vgg16 import put_back, run_decoder, settle
from usererror import UserError

WIDE, NARROW = block_widths("vgg16"), block_widths("vgg16_w4")
# the last layer of each block in torchvision's chain of features, poolings left out
ENDS = (5, 12, 22, 32, 42)


@pytest.mark.parametrize(("channels", "classes"), [(3, 6), (1, 2), (7, 25)])
def test_counts_of_the_dossier(channels, classes):
    with torch.device("meta"):
        encoder, decoder = Encoder(channels, WIDE, "bn_relu"), Decoder(WIDE, classes, "relu_bn")
    assert count_parameters(encoder)["total"] == 576 * channels + 14_721_408
    assert count_parameters(decoder)["total"] == 577 * classes + 14_719_872


def features_of(build: Any, path: Path) -> nn.Sequential:
    """torchvision's features with random weights, also saved in its file's form."""
    with torch.device("meta"):
        features = build().features
    torch.manual_seed(5)
    features = features.to_empty(device="cpu").eval()
    for part in features:
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    settle(features)
    torch.save({f"features.{name}": v for name, v in features.state_dict().items()}, path)
    return features


def test_the_encoder_is_torchvisions(tmp_path):
    features = features_of(torchvision.models.vgg16_bn, tmp_path / "vgg16_bn.pth")
    encoder = make_encoder([3], WIDE, "bn_relu", "vgg16_bn", str(tmp_path / "vgg16_bn.pth")).eval()
    assert count_parameters(encoder)["total"] == count_parameters(features)["total"] == 14_723_136
    image = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        for found, end in zip(encoder(image), ENDS, strict=True):
            assert torch.equal(found, features[: end + 1](image))


def test_convolutions_alone_and_other_channels(tmp_path):
    features = features_of(torchvision.models.vgg16, tmp_path / "vgg16.pth")
    encoder = make_encoder([2], WIDE, "bn_relu", "vgg16", str(tmp_path / "vgg16.pth"))
    mean = features[0].weight.mean(1, keepdim=True).expand(-1, 2, -1, -1)
    assert torch.equal(encoder.blocks[0][0].weight, mean)
    for kind in ("weight", "bias"):
        assert torch.equal(getattr(encoder.blocks[4][6], kind), getattr(features[28], kind))
    with pytest.raises(UserError, match="pretrained: false"):
        make_encoder([3], NARROW, "bn_relu", "vgg16")


def test_maxima_are_put_back_where_they_were():
    torch.manual_seed(0)
    maps = torch.rand(2, 3, 6, 10)
    pooled, places = pool_with_places(maps)
    back = torch.nn.functional.max_unpool2d(pooled, places, 2)
    windows = maps.unfold(2, 2, 2).unfold(3, 2, 2)
    highest = windows == windows.amax((-1, -2), keepdim=True)
    assert torch.equal(back.unfold(2, 2, 2).unfold(3, 2, 2), torch.where(highest, windows, 0.0))
    assert torch.equal(put_back(pooled, places), back)


@pytest.mark.parametrize("order", ["bn_relu", "relu_bn"])
@torch.no_grad()
def test_the_decoder_in_plain_operations(order):
    torch.manual_seed(0)
    decoder = Decoder(NARROW, 5, order).eval()
    settle(decoder)
    skips, places = [], []
    for level, width in enumerate(NARROW):
        skips.append(torch.randn(2, width, 64 >> level, 32 >> level))
        places.append(pool_with_places(skips[-1])[1])
    deepest = torch.randn(2, NARROW[-1], 2, 1)
    for given in (None, skips):
        expected = run_decoder(decoder, deepest, places, given, order)
        found = decoder(deepest, places, given)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_what_is_no_vgg():
    for name in ("vgg19", "vgg16_w0", "vgg16_bn"):
        with pytest.raises(UserError, match="neither vgg16"):
            block_widths(name)
    with pytest.raises(UserError, match="bn_relu"):
        make_block([3, 4], "bn")
