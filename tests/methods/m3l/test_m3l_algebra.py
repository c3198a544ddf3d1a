"""M3L's two networks against the equations taken literally, in every subset (dossier sections 5 and
6).
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from methods.m3l.network import BlockM3L, M3LNetwork, StageM3L
from methods.m3l.streams import (
    StreamFusion,
    StreamNorm,
    first_embedding,
    fusion_weights,
    interleave_streams,
    run_stages,
)
from methods.parts.backbones import create_pyramid
from methods.parts.heads import ChannelNorm
from tests.support.method_checks import (
    CHANNELS,
    THREE,
    images,
    subsets,
)
from tests.support.reference_m3l import (
    literal_block,
    literal_stage,
    mix,
    plain_pyramids,
    without_drop_path,
)
from usererror import UserError

NETWORKS = {"stage": StageM3L, "block": BlockM3L}


def network(kind: str = "stage", modalities=THREE, **options) -> M3LNetwork:
    """In eval mode, with modality norms and batch statistics that are not their initial values."""
    torch.manual_seed(0)
    built = NETWORKS[kind](
        list(modalities), 4, **{"backbone": "pvt_v2_b0", "head_width": 16, **options}
    )
    for module in built.modules():
        if isinstance(module, (ChannelNorm, nn.LayerNorm)):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    with torch.no_grad():
        for seed in range(3):
            built.train().fuse(built.encode(images(modalities, seed=seed, size=(64, 64))))
    return built.eval()


@pytest.mark.parametrize("count", range(1, 6))
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.8, 1.0])
def test_fusion_weights_are_the_dossiers_and_sum_to_one(count, ratio):
    fusion = StreamFusion(count, ratio)
    matrix = fusion(torch.eye(count)).mT  # row m: the weights of stream m
    torch.testing.assert_close(matrix.sum(1), torch.ones(count))
    torch.testing.assert_close(matrix, torch.stack(mix(list(torch.eye(count)), ratio)))


def test_two_streams_mix_as_released():
    matrix = StreamFusion(2, 0.8)(torch.eye(2))
    torch.testing.assert_close(matrix, torch.tensor([[0.8, 0.2], [0.2, 0.8]]))
    assert fusion_weights(1, 0.8) == (1.0, 0.0)


def test_packed_streams_mix_like_separate_ones():
    generator = torch.Generator().manual_seed(0)
    streams = [torch.randn(2, 5, 7, generator=generator) for _ in range(4)]
    torch.testing.assert_close(
        StreamFusion(4, 0.7)(torch.cat(streams)), torch.cat(mix(streams, 0.7))
    )


@pytest.mark.parametrize("kind", NETWORKS)
def test_ratio_one_keeps_the_streams_apart(kind):
    built, given, other = network(kind, ratio=1.0), images(THREE), images(THREE, seed=1)
    with torch.inference_mode():
        before = built.stream_logits(built.encode(given))
        for i, m in enumerate(THREE):
            after = built.stream_logits(built.encode({**given, m: other[m]}))
            kept = [n for n in range(3) if n != i]
            torch.testing.assert_close(after[kept], before[kept], rtol=0, atol=1e-6)
            assert not torch.allclose(after[i], before[i], atol=1e-2)


def test_equal_shares_make_all_streams_equal():
    for count in (2, 3, 4):
        modalities = dict(list(CHANNELS.items())[:count])
        built = network(modalities=modalities, ratio=1 / count)
        with torch.inference_mode():
            streams = built.stream_logits(built.encode(images(modalities)))
        torch.testing.assert_close(streams, streams[:1].expand_as(streams), rtol=1e-4, atol=1e-5)
        fused = StreamFusion(count, 1 / count)(torch.randn(3 * count, 4)).unflatten(0, (count, 3))
        torch.testing.assert_close(fused, fused[:1].expand_as(fused))


@pytest.mark.parametrize(
    "options", [{}, {"head_norm": "ln"}, {"backbone": "resnet50"}, {"ratio": 0.5}], ids=str
)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_cached_stage_equals_the_literal_form(count, options):
    modalities = dict(list(CHANNELS.items())[:count])
    built, given = network(modalities=modalities, **options), images(modalities)
    with torch.inference_mode():
        encoded = built.encode(given)
        for subset in subsets(list(modalities)):
            entries = {m: encoded[m] for m in subset}
            expected = torch.stack(literal_stage(built, {m: given[m] for m in subset}))
            torch.testing.assert_close(built.stream_logits(entries), expected, rtol=0, atol=5e-4)
            torch.testing.assert_close(built.fuse(entries)[0], expected.mean(0), rtol=0, atol=5e-4)


def test_cached_stage_equals_the_literal_form_in_training():
    """Batch statistics follow the fusion, so the caching is exact there too: values and gradients,
    in float64.
    """
    built, given = (
        without_drop_path(network(head_dropout=0.0)).double().train(),
        {m: x.double() for m, x in images(THREE).items()},
    )
    present = {
        "rgb": torch.tensor([True, False]),
        "dsm": torch.tensor([True, True]),
        "sar": torch.tensor([False, True]),
    }
    built.fuse(built.encode_present(given, present), present)[0].square().sum().backward()
    found = [p.grad.clone() for p in built.parameters()]
    built.zero_grad()

    # the literal head one scale at a time, tokens written into each sample's map, all streams
    # packed
    features = {m: built.encoder({m: image})[m] for m, image in given.items()}
    packed = []
    for scale, token in enumerate(built.tokens):
        streams = []
        for m in THREE:
            normed = built.norms[m][scale](features[m][scale])
            streams.append(
                torch.where(present[m][:, None, None, None], normed, token[:, None, None])
            )
        packed.append(torch.cat(mix(streams, 0.8)))
    built.head(packed).unflatten(0, (3, 2)).mean(0).square().sum().backward()
    for grad, parameter in zip(found, built.parameters(), strict=True):
        torch.testing.assert_close(grad, parameter.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["stage", "block"])
def test_depth_is_stochastic_from_0_to_a_tenth_in_training_only(kind):
    """Dossier 2.1: the rate grows with the block; attention and feed-forward of one share it."""
    built, given = network(kind, head_dropout=0.0), images(THREE)
    rates = []
    for stage in range(4):
        for block in built.encoder.pyramid[f"stages_{stage}"].blocks:
            first, second = block.drop_path1, block.drop_path2
            rates.append(getattr(first, "drop_prob", 0.0))
            assert getattr(second, "drop_prob", 0.0) == rates[-1]
    torch.testing.assert_close(torch.tensor(rates), torch.linspace(0, 0.1, 8))
    with torch.no_grad():
        one, two = (built.fuse(built.encode(given))[0] for _ in range(2))
        assert torch.equal(one, two)
        built.train()
        torch.manual_seed(1)
        drawn = [built.fuse(built.encode(given))[0] for _ in range(8)]
        assert not all(torch.equal(drawn[0], other) for other in drawn)
        without_drop_path(built)
        one, two = (built.fuse(built.encode(given))[0] for _ in range(2))
        assert torch.equal(one, two)


@pytest.mark.parametrize("backbone", ["pvt_v2_b0", "resnet50"])
def test_block_equals_plain_encoders_in_lockstep(backbone):
    built, given = network("block", backbone=backbone), images(THREE)
    plain = plain_pyramids(built, backbone)
    with torch.inference_mode():
        encoded = built.encode(given)
        for subset in subsets(list(THREE)):
            entries = {m: encoded[m] for m in subset}
            expected = torch.stack(literal_block(built, plain, {m: given[m] for m in subset}))
            torch.testing.assert_close(built.stream_logits(entries), expected, rtol=0, atol=1e-4)
            torch.testing.assert_close(built.fuse(entries)[0], expected.mean(0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("backbone", ["pvt_v2_b0", "pvt_v2_b2", "resnet50", "resnet18"])
def test_block_without_mixing_is_the_untouched_backbone(backbone):
    torch.manual_seed(0)
    plain = create_pyramid(backbone).eval()
    torch.manual_seed(0)
    rebuilt = create_pyramid(backbone).eval()
    interleave_streams(rebuilt, StreamFusion(2, 1.0))
    generator = torch.Generator().manual_seed(1)
    given = [torch.randn(2, 3, 64, 96, generator=generator) for _ in range(2)]
    with torch.inference_mode():
        maps = run_stages(
            rebuilt, torch.cat(first_embedding(rebuilt, torch.cat(given), [0, 1], [2, 2]))
        )
        for found, first, second in zip(maps, *(plain(image) for image in given), strict=True):
            torch.testing.assert_close(found, torch.cat([first, second]), rtol=0, atol=1e-4)


def test_copies_of_a_norm_start_equal_and_go_apart():
    norm = nn.LayerNorm(6)
    nn.init.normal_(norm.weight)
    streams, x = StreamNorm(norm, 3), torch.randn(6, 5, 6)
    torch.testing.assert_close(streams(x), norm(x))
    with torch.no_grad():
        streams.copies[1].bias.add_(1)
    torch.testing.assert_close(
        streams(x) - norm(x), torch.tensor([0, 0, 1.0, 1, 0, 0])[:, None, None].expand(x.shape)
    )


@pytest.mark.parametrize("kind", NETWORKS)
def test_ensemble_of_available_streams(kind):
    built, given = network(kind, ensemble="available"), images(THREE)
    everyone = network(kind)
    with torch.inference_mode():
        encoded = built.encode(given)
        for subset in subsets(list(THREE)):
            entries = {m: encoded[m] for m in subset}
            streams = everyone.stream_logits(entries)
            chosen = [i for i, m in enumerate(THREE) if m in subset]
            torch.testing.assert_close(
                built.fuse(entries)[0], streams[chosen].mean(0), rtol=1e-4, atol=1e-5
            )
            present = {m: torch.tensor([m in subset, True]) for m in THREE}
            masked = built.fuse(encoded, present)[0]
            torch.testing.assert_close(masked[0], built.fuse(entries)[0][0], rtol=1e-4, atol=1e-5)


def test_options_that_cannot_be():
    for kind, options, word in (
        ("stage", {"ratio": 1.2}, "within 0 and 1"),
        ("stage", {"ensemble": "some"}, "all nor available"),
        ("block", {"backbone": "convnext_atto"}, "fusion: stage"),
    ):
        with pytest.raises(UserError, match=word):
            NETWORKS[kind](["a", "b"], 4, **{"backbone": "pvt_v2_b0", **options})
