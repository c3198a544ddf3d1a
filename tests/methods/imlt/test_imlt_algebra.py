"""Identities of IMLT's fusion layer and contrastive term (dossier 2.2, 4.2, 4.3 and checks 1, 2, 5,
6, 8).
"""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from torch.nn import functional as F

from methods.imlt.contrastive_loss import AttentionPool, distillation_loss, info_nce, over_subsets
from methods.imlt.fusion import FusionLayer, sine_cosine
from methods.imlt.network import IMLTNetwork
from tests.support.reference_imlt import (
    gain_norm,
    literal_layer,
    masked_self_attention,
    positions,
)
from usererror import UserError

EXACT = {"rtol": 1e-8, "atol": 1e-9}


def layer_of(channels: int = 32, modalities: int = 3, **options) -> FusionLayer:
    """Norms with gains that matter, modality vectors that differ; float64."""
    torch.manual_seed(0)
    layer = FusionLayer(channels, modalities, **{"head_channels": 8, **options}).double()
    with torch.no_grad():
        layer.vectors.normal_()
        layer.tokens.normal_()
        for block in (layer.modality_attention, layer.stream_attention):
            block.query.weight.mul_(2)
            for norm in (*block.norm, layer.feed_forward.norm, layer.modality_feed_forward.norm):
                norm.weight.copy_(1 + 0.3 * torch.randn(channels, dtype=torch.float64))
    return layer.eval()


def maps(
    channels: int = 32, size=(6, 7), batch: int = 2, modalities: int = 3, seed: int = 1
) -> dict[int, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    return {m: 2 * torch.randn(batch, channels, *size, **draw) for m in range(modalities)}


def fuse(layer: FusionLayer, given: dict[int, torch.Tensor], present=None) -> torch.Tensor:
    return layer.fuse([layer.project_modality(m, feature) for m, feature in given.items()], present)


@pytest.mark.parametrize("size", [(16, 16), (6, 7), (3, 11)])
@pytest.mark.parametrize("chosen", [(0,), (2,), (0, 2), (0, 1, 2)])
def test_a_layer_equals_the_literal_description(size, chosen):
    layer = layer_of()
    given = {m: feature for m, feature in maps(size=size, batch=1).items() if m in chosen}
    results = [], []
    for function, result in zip((fuse, literal_layer), results, strict=True):
        x = function(layer, given)
        layer.zero_grad()
        x.square().sum().backward()
        gradients = {name: p.grad for name, p in layer.named_parameters() if p.grad is not None}
        result.extend(
            (x.detach(), {name: gradient.clone() for name, gradient in gradients.items()})
        )
    torch.testing.assert_close(results[0][1], results[1][1], **EXACT)
    torch.testing.assert_close(results[0][0], results[1][0], **EXACT)
    with torch.no_grad():
        torch.testing.assert_close(fuse(layer, given), results[1][0], **EXACT)


def test_fusion_rows_of_the_full_mask_at_the_size_of_a_512_image():
    """Check 6: tokens of all streams at 512 channels and 16 x 16 positions, heads of 64."""
    layer, given = layer_of(512, head_channels=64), maps(512, (16, 16), batch=1)
    assert layer.stream_attention.heads == 8
    with torch.no_grad():
        streams = [layer.project_modality(m, feature) for m, feature in given.items()]
        x = torch.randn(1, 256, 512, dtype=torch.float64)
        fast = x + layer.stream_attention(x, x, streams, None)
        tokens = [
            feature.flatten(2).transpose(1, 2) + layer.vectors[m] for m, feature in given.items()
        ]
        torch.testing.assert_close(fast, masked_self_attention(layer, tokens, x), **EXACT)
        torch.testing.assert_close(fuse(layer, given), literal_layer(layer, given), **EXACT)


def test_keys_are_averages_over_the_grid():
    layer = layer_of(key_grid=4)
    features = maps(size=(8, 12), modalities=1)[0]
    expected = torch.stack(
        [
            features[:, :, 2 * y : 2 * y + 2, 3 * x : 3 * x + 3].mean((2, 3))
            for y in range(4)
            for x in range(4)
        ],
        1,
    )
    torch.testing.assert_close(layer.pool_maps(features), expected, **EXACT)
    stream = layer.project_modality(0, features)
    keys, _ = layer.stream_attention.keys_values(expected + layer.vectors[0])
    torch.testing.assert_close(stream.pooled_key, layer.stream_attention.split_heads(keys), **EXACT)
    # sides that the grid does not divide: cells from floor to ceiling, rows 0-2, 1-3, 3-5, 4-6 of
    # six
    uneven = layer.pool_maps(features[..., :6, :])
    cells = [(0, 2), (1, 3), (3, 5), (4, 6)]
    expected = [
        features[:, :, top:end, 3 * x : 3 * x + 3].mean((2, 3))
        for top, end in cells
        for x in range(4)
    ]
    torch.testing.assert_close(uneven, torch.stack(expected, 1), **EXACT)
    assert layer.pool_maps(features[..., :3, :]).shape[1] == 3 * 4


def test_positions_by_their_definition():
    like = torch.zeros(1, dtype=torch.float64)
    torch.testing.assert_close(sine_cosine(16, 5, 9, like)[0], positions(16, 5, 9), **EXACT)
    apart = positions(16, 5, 9).flatten(1)
    assert torch.cdist(apart.t(), apart.t()).fill_diagonal_(1).min() > 0.05


@pytest.mark.parametrize("own_token", [True, False])
def test_masked_keys_equal_absent_streams(own_token):
    layer, given = layer_of(own_token=own_token), maps()
    with torch.no_grad():
        for kept in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2)):
            present = torch.tensor([[m in kept, True] for m in given])
            masked = fuse(layer, given, present)
            torch.testing.assert_close(
                masked[:1], fuse(layer, {m: given[m] for m in kept})[:1], **EXACT
            )
            torch.testing.assert_close(masked[1:], fuse(layer, given)[1:], **EXACT)


def test_order_of_the_streams_is_irrelevant():
    layer, given = layer_of(), maps()
    with torch.no_grad():
        expected = fuse(layer, given)
        for order in permutations(given):
            torch.testing.assert_close(fuse(layer, {m: given[m] for m in order}), expected, **EXACT)


def test_only_the_vector_tells_equal_modalities_apart():
    """Check 5: with e_m = 0 a modality's image is all there is to it."""
    layer, given = layer_of(), maps()
    one, two = {0: given[0], 2: given[2]}, {1: given[0], 2: given[2]}
    with torch.no_grad():
        assert not torch.allclose(fuse(layer, one), fuse(layer, two), atol=1e-3)
        layer.vectors.zero_()
        torch.testing.assert_close(fuse(layer, one), fuse(layer, two), **EXACT)
    assert not FusionLayer(32, 3).vectors.any()


def test_without_its_own_token_the_modality_attention_of_one_stream_is_its_value():
    layer, given = layer_of(own_token=False), maps(modalities=1)
    block, stream = layer.modality_attention, layer.project_modality(0, given[0])
    update = block(layer.start_stream(6, 7), [stream], None)
    torch.testing.assert_close(update, block.out(stream.value), **EXACT)


def test_the_prepared_start_follows_the_weights_and_the_size():
    layer, given = layer_of(), maps()
    with torch.no_grad():
        small, wide = fuse(layer, given), fuse(layer, maps(size=(9, 5)))
        torch.testing.assert_close(fuse(layer, given), small, rtol=0, atol=0)
        torch.testing.assert_close(wide, literal_layer(layer, maps(size=(9, 5))), **EXACT)
        kept = layer.start_stream(6, 7)
        assert layer.start_stream(6, 7) is kept and layer.start_stream(7, 6) is not kept
        layer.tokens.add_(1)
        torch.testing.assert_close(fuse(layer, given), literal_layer(layer, given), **EXACT)
    assert not torch.allclose(fuse(layer, given), small, atol=1e-3)


def test_what_a_layer_cannot_be():
    for options, word in (
        ({"channels": 30}, "multiple of 4"),
        ({"key_grid": 0}, "key_grid"),
        ({"ff_mult": 0.01}, "ff_mult"),
    ):
        with pytest.raises(UserError, match=word):
            FusionLayer(**{"channels": 32, "modalities": 2, **options})
    with pytest.raises(UserError, match="pool_heads 3"):
        AttentionPool(32, 2, heads=3)


def vectors(
    count: int = 4, modalities: int = 3, channels: int = 16, seed: int = 0
) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(count, modalities, channels, generator=generator, dtype=torch.float64)
        for _ in range(2)
    ]


def test_distillation_by_hand():
    h, g = vectors()
    losses = distillation_loss(h, g, 0.1, 0.04)
    for b in range(4):
        for m in range(3):
            target = torch.exp(g[b, m] / g[b, m].norm() / 0.04)
            logits = h[b, m] / h[b, m].norm() / 0.1
            expected = -(target / target.sum() * (logits - logits.exp().sum().log())).sum()
            torch.testing.assert_close(losses[b, m], expected, **EXACT)
    flat = torch.ones(1, 1, 512)
    torch.testing.assert_close(distillation_loss(flat, flat), torch.full((1, 1), math.log(512)))


def test_info_nce_by_hand():
    h, g = vectors()
    present = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]]).bool()
    losses = info_nce(h, g, present, 0.1)
    h, g = F.normalize(h, dim=-1), F.normalize(g, dim=-1)
    for m in range(3):
        here = present[:, m].nonzero().flatten()
        similar = h[here, m] @ g[here, m].t() / 0.1
        truth = torch.arange(len(here))
        expected = (
            F.cross_entropy(similar, truth, reduction="none")
            + F.cross_entropy(similar.t(), truth, reduction="none")
        ) / 2
        torch.testing.assert_close(losses[here, m], expected, **EXACT)
    assert losses.isfinite().all()
    # one sample has no negatives
    assert losses[2, 2].abs() < 1e-9


def test_reduction_over_the_modalities_of_a_sample():
    losses = torch.tensor([[1.0, 2.0, 6.0], [5.0, 9.0, 7.0]])
    present = torch.tensor([[True, True, True], [True, False, False]])
    assert over_subsets(losses, present, "mean").item() == (3 + 5) / 2
    assert over_subsets(losses, present, "sum").item() == (9 + 5) / 2


def network(**options) -> IMLTNetwork:
    torch.manual_seed(0)
    return IMLTNetwork(("rgb", "dsm", "nir"), 4, backbone="pvt_v2_b0", head_width=16, **options)


def streams_and_fused(net: IMLTNetwork, width: int):
    generator = torch.Generator().manual_seed(2)
    features = {
        m: torch.randn(2, width, 4, 4, generator=generator).requires_grad_() for m in net.modalities
    }
    encoded = {
        m: [net.fusion[-1].project_modality(i, f)] for i, (m, f) in enumerate(features.items())
    }
    return features, encoded, torch.randn(2, width, 4, 4, generator=generator).requires_grad_()


@pytest.mark.parametrize("contrast", ["distill", "infonce"])
def test_reach_of_the_contrastive_term(contrast):
    """Check 8: X and the pooling are trained, the modality side is a target (and is not, in the
    InfoNCE form).
    """
    net = network(contrast=contrast)
    features, encoded, fused = streams_and_fused(net, 256)
    net.contrastive_loss(encoded, fused).backward()
    assert fused.grad.any()
    assert all(p.grad.any() for p in net.pool.parameters())
    reached = [f.grad is not None and bool(f.grad.any()) for f in features.values()]
    assert reached == [contrast == "infonce"] * 3


def test_the_term_starts_near_the_logarithm_of_the_width():
    """Check 8, with an untrained network of the full width: ln 512 = 6.24. Normalised vectors have
    entries of variance
    1/C, so temperatures 0.04 and 0.1 give logits of variance 1.22 and 0.20: the log-sum-exp adds
    0.1 and a perfect
    correlation takes away 0.49 at most."""
    torch.manual_seed(0)
    pool = AttentionPool(512, 3)
    tokens = [torch.randn(4, 64, 512) for _ in range(4)]
    with torch.no_grad():
        g = torch.cat([pool(stream, [m]) for m, stream in enumerate(tokens[:3])], 1)
        h = pool(tokens[3], [0, 1, 2])
        losses = distillation_loss(h, g)
    assert (losses - math.log(512)).abs().max() < 0.5


def test_pooling_uses_the_query_of_its_modality_on_both_sides():
    net = network()
    _, encoded, fused = streams_and_fused(net, 256)
    with torch.no_grad():
        net.pool.queries.normal_()
        rows = fused.flatten(2).transpose(1, 2)
        pairs = [
            distillation_loss(
                net.pool(rows, [m]),
                net.pool(encoded[name][-1].features.flatten(2).transpose(1, 2), [m]),
            )
            for m, name in enumerate(net.modalities)
        ]
        torch.testing.assert_close(
            net.contrastive_loss(encoded, fused), torch.stack(pairs).mean(), rtol=1e-5, atol=1e-6
        )
        present = {
            "rgb": torch.tensor([True, True]),
            "dsm": torch.tensor([False, True]),
            "nir": torch.tensor([False, False]),
        }
        expected = (pairs[0][0] + (pairs[0][1] + pairs[1][1]) / 2).squeeze() / 2
        torch.testing.assert_close(
            net.contrastive_loss(encoded, fused, present), expected, rtol=1e-5, atol=1e-6
        )


def test_pooling_by_hand():
    torch.manual_seed(0)
    pool, tokens = (
        AttentionPool(16, 2, heads=2).double(),
        torch.randn(1, 5, 16, dtype=torch.float64),
    )
    with torch.no_grad():
        pool.norm.weight.normal_()
        pool.query_norm.weight.normal_()
    keys, values = pool.key_value(gain_norm(tokens[0], pool.norm.weight)).chunk(2, dim=1)
    query = pool.query(gain_norm(pool.queries[1], pool.query_norm.weight))
    parts = []
    for part in (slice(0, 8), slice(8, 16)):
        parts.append((keys[:, part] @ query[part] / math.sqrt(8)).softmax(0) @ values[:, part])
    pooled = pool.out(torch.cat(parts))
    inner = F.gelu(pool.mlp[0](gain_norm(pooled, pool.norm.weight)))
    assert inner.shape == (64,)
    expected = pooled + pool.mlp[2](inner)
    torch.testing.assert_close(pool(tokens, [1])[0, 0], expected, **EXACT)
