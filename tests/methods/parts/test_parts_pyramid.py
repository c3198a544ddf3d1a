"""The convolutional parts of mmFormer and GEMMNet: norms, shapes, counts, separability and the
order of channels.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.parts.backbones import pad_to_multiple
from methods.parts.conv_unet import (
    LEAST,
    STRIDE,
    WIDTHS,
    FusedDecoder,
    FusionBlock,
    PreConv,
    PyramidEncoder,
    UnimodalDecoder,
    normalise_maps,
)
from methods.parts.heads import to_image_size
from methods.shaspec.layers import conv_norm_act

NORMS = ["instance", "layer"]


def maps(modalities: int = 1, size: tuple[int, int] = (32, 48), batch: int = 2) -> list[Tensor]:
    torch.manual_seed(1)
    return [
        torch.randn(batch, modalities * c, size[0] >> i, size[1] >> i) for i, c in enumerate(WIDTHS)
    ]


@pytest.mark.parametrize("size", [(20, 20), (32, 32), (33, 95), (1, 100)])
def test_padding_replicates_and_is_cropped(size):
    image = torch.randn(2, 3, *size)
    padded = pad_to_multiple(image, STRIDE, LEAST)
    height, width = padded.shape[-2:]
    assert height % 16 == 0 and width % 16 == 0 and min(height, width) >= 32
    assert height - max(size[0], 32) < 16 and width - max(size[1], 32) < 16
    assert torch.equal(to_image_size(padded, size, stride=1), image)
    assert torch.equal(padded[..., -1, -1], image[..., -1, -1])


def test_the_norms_are_what_they_say():
    """`layer` is a GroupNorm with one group, as a 3-D instance norm treats a batch of maps."""
    features = 3 * torch.randn(4, 6, 5, 7) + torch.arange(6.0)[:, None, None]
    whole, single = normalise_maps(features, "layer"), normalise_maps(features, "instance")
    torch.testing.assert_close(whole, nn.GroupNorm(1, 6, affine=False)(features), rtol=0, atol=1e-6)
    torch.testing.assert_close(whole, nn.InstanceNorm3d(4)(features), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(single, nn.InstanceNorm2d(6)(features), rtol=0, atol=1e-6)
    assert (whole - single).abs().max() > 0.1
    for result, dims in ((whole, (1, 2, 3)), (single, (2, 3))):
        torch.testing.assert_close(
            result.mean(dims), torch.zeros_like(result.mean(dims)), rtol=0, atol=1e-6
        )
        torch.testing.assert_close(
            result.var(dims, correction=0), torch.ones_like(result.mean(dims)), rtol=0, atol=1e-4
        )


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="batch"):
        PreConv(1, 1, norm="batch")


@pytest.mark.parametrize("mode", ["reflect", "zeros"])
def test_preconv_is_norm_activation_convolution(mode):
    layer, features = PreConv(3, 5, 3, 2, mode), torch.randn(2, 3, 8, 10)
    active = F.leaky_relu(nn.InstanceNorm2d(3)(features), 0.2)
    padded = F.pad(active, (1, 1, 1, 1), mode="reflect" if mode == "reflect" else "constant")
    expected = F.conv2d(padded, layer.conv.weight, layer.conv.bias, stride=2)
    torch.testing.assert_close(layer(features), expected)
    assert expected.shape == (2, 5, 4, 5)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_encoder_counts_and_shapes(channels):
    encoder = PyramidEncoder(channels)
    assert count_parameters(encoder)["total"] == 491_496 + 72 * channels
    found = [tuple(m.shape) for m in encoder(torch.randn(2, channels, 32, 48))]
    assert found == [(2, c, 32 >> i, 48 >> i) for i, c in enumerate(WIDTHS)]
    with torch.device("meta"):
        big = [tuple(m.shape) for m in PyramidEncoder(channels)(torch.zeros(1, channels, 512, 512))]
    assert big == [
        (1, c, s, s) for c, s in zip((8, 16, 32, 64, 128), (512, 256, 128, 64, 32), strict=True)
    ]


def test_cost_of_encoders_and_decoder_at_512():
    """1.87 and 1.83 GMAC for three and one channel, 3.51 for fusion blocks, decoder and heads of
    two modalities.
    """
    with torch.device("meta"):
        costs = [
            count_gmac(lambda c=c: PyramidEncoder(c)(torch.zeros(1, c, 512, 512))) for c in (3, 1)
        ]
        given = maps(2, (512, 512), 1)
        costs.append(count_gmac(lambda: FusedDecoder(2, 5)(given, with_auxiliary=True)))
    assert [round(cost, 2) for cost in costs] == [1.87, 1.83, 3.51]


def test_the_first_layer_of_the_encoder_sees_the_raw_image():
    """A shift of the image shows in the first map: no norm before the first convolution."""
    encoder, image = PyramidEncoder(1), torch.randn(1, 1, 32, 32)
    assert not torch.allclose(encoder(image)[0], encoder(image + 3)[0], atol=1e-2)


@pytest.mark.parametrize("modalities", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [8, 64])
def test_fusion_block_counts_and_separates(modalities, channels):
    block = FusionBlock(modalities, channels)
    assert count_parameters(block)["total"] == channels**2 * (modalities + 10) + 3 * channels
    parts = [5 * torch.randn(2, channels, 6, 4) for _ in range(modalities)]
    parts[0] = torch.zeros_like(parts[0])
    total = sum(block.partial_sum(i, part) for i, part in enumerate(parts))
    torch.testing.assert_close(
        block.finish_fusion(total), block(torch.cat(parts, 1)), rtol=1e-6, atol=1e-6
    )
    assert not block.partial_sum(0, parts[0]).any()


def test_fusion_block_does_not_separate_with_layer_norm():
    with pytest.raises(ValueError, match="instance"):
        FusionBlock(2, 8, "layer").partial_sum(0, torch.zeros(1, 8, 2, 2))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("modalities", "classes"), [(2, 5), (3, 6), (4, 4)])
def test_decoders_count_and_shape(modalities, classes, norm):
    """The number of classes is not that of modalities."""
    decoder = FusedDecoder(modalities, classes, norm)
    expected = 201_640 + 253 * classes + 21_824 * (modalities + 10) + 744
    assert count_parameters(decoder)["total"] == expected
    plain = FusedDecoder(modalities, classes, norm, auxiliary=False)
    assert count_parameters(plain)["total"] == expected - 240 * classes - 4 * classes
    logits, coarse = decoder(maps(modalities), with_auxiliary=True)
    assert logits.shape == (2, classes, 32, 48)
    assert [tuple(c.shape) for c in coarse] == [
        (2, classes, 32 // s, 48 // s) for s in (16, 8, 4, 2)
    ]
    torch.testing.assert_close(decoder(maps(modalities))[0], logits)
    assert decoder(maps(modalities))[1] == [] == plain(maps(modalities), with_auxiliary=True)[1]
    single = UnimodalDecoder(classes, norm)
    assert count_parameters(single)["total"] == 201_640 + 9 * classes
    assert single(maps()).shape == (2, classes, 32, 48)


def test_counts_of_two_modalities_and_five_classes():
    assert count_parameters(FusedDecoder(2, 5))["total"] == 465_537
    assert count_parameters(UnimodalDecoder(5))["total"] == 201_685


def test_fused_decoder_joins_skip_first_and_unimodal_decoder_lifted_first():
    """With weights copied and the halves of every joining convolution exchanged, the two chains
    agree.
    """
    fused, single = FusedDecoder(2, 5), UnimodalDecoder(5)
    single.steps.load_state_dict(fused.steps.state_dict())
    single.head.load_state_dict(fused.head.state_dict())
    given = maps()
    assert not torch.allclose(single(given), fused.decode(given)[0], atol=1e-3)
    with torch.no_grad():
        for step in single.steps:
            step.merge.conv.weight.copy_(torch.cat(step.merge.conv.weight.chunk(2, 1)[::-1], 1))
    torch.testing.assert_close(single(given), fused.decode(given)[0], rtol=1e-4, atol=1e-5)


def test_auxiliary_heads_read_the_decoder_states():
    """The coarsest reads F_5's output itself; the finest decoder state has none."""
    decoder, fused = FusedDecoder(2, 5), maps()
    _, coarse = decoder.decode(fused, with_auxiliary=True)
    torch.testing.assert_close(coarse[0], decoder.heads[0](fused[-1]))
    step = decoder.steps[0]
    up = F.interpolate(fused[-1], scale_factor=2, mode="bilinear", align_corners=True)
    torch.testing.assert_close(
        coarse[1], decoder.heads[1](step.mix(step.merge(torch.cat([fused[3], step.lift(up)], 1))))
    )
    assert [head.in_channels for head in decoder.heads] == [128, 64, 32, 16]


@pytest.mark.parametrize("layer", [PreConv(4, 4, 1), conv_norm_act(4, 4, 1)[1:]])
def test_an_activation_is_kept_once_for_backward(layer, monkeypatch):
    """In place or not, the gradients are the same bits; what the norm returned is not kept."""
    features, leaky = torch.randn(2, 4, 16, 16), F.leaky_relu
    found = []
    for inplace in (True, False):
        if not inplace:
            monkeypatch.setattr(F, "leaky_relu", lambda x, slope, inplace: leaky(x, slope))
        leaf, kept = features.clone().requires_grad_(), set()

        def note_map(tensor, kept=kept):
            if tensor.untyped_storage().nbytes() >= features.nbytes:
                kept.add(tensor.untyped_storage().data_ptr())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note_map, lambda tensor: tensor):
            result = layer(leaf)
            result.square().sum().backward()
        found.append((len(kept), leaf.grad))
    assert found[0][0] == found[1][0] - 1
    assert torch.equal(found[0][1], found[1][1])
