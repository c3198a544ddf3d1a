"""mmFormer's fused path against its equations written out, and the exactness of what is kept
between subsets.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.mmformer.network import MMFormerNetwork
from tests.support.method_checks import (
    CHANNELS,
    images,
    subsets,
)

SMALL = {"width": 16, "mlp": 24, "heads": 4, "grid": 4}
SIZE = (64, 64)


def build(count: int, **options) -> MMFormerNetwork:
    torch.manual_seed(0)
    modalities = dict(list(CHANNELS.items())[:count])
    network = MMFormerNetwork(modalities, 5, **{**SMALL, **options}).eval()
    for table in network.tables.values():
        torch.nn.init.normal_(table)
    return network


def preconv(layer, features: Tensor, norm: str) -> Tensor:
    dims = (2, 3) if norm == "instance" else (1, 2, 3)
    mean, variance = (
        features.mean(dims, keepdim=True),
        features.var(dims, correction=0, keepdim=True),
    )
    active = F.leaky_relu((features - mean) / (variance + 1e-5).sqrt(), 0.2)
    return layer.conv(active)


def literal(
    network: MMFormerNetwork, given: dict[str, Tensor], shown: tuple[str, ...], layout: str
) -> Tensor:
    """Dossier I.3 line by line: every branch runs, features are multiplied by the mask, everything
    is concatenated.
    """
    norm, names = network.norm, network.modalities
    maps, tokens = [], []
    for m in names:
        delta, pyramid, x = float(m in shown), [], given[m]
        for first, pair in zip(network.encoders[m].firsts, network.encoders[m].pairs, strict=True):
            x = first(x)
            x = x + preconv(pair[1], preconv(pair[0], x, norm), norm)
            pyramid.append(x)
        maps.append([delta * level for level in pyramid[:4]])
        flat = network.tokenisers[m](x).flatten(2).transpose(1, 2)
        tokens.append(delta * network.intra[m](flat, network.tables[m]))
    positions = torch.cat([network.tables[m] for m in names], 1)
    sequence = network.inter(torch.cat(tokens, 1), positions)
    height, width = x.shape[-2:]
    if layout == "sequential":
        grid = sequence.reshape(len(sequence), height, width, -1).permute(0, 3, 1, 2)
    else:
        parts = sequence.chunk(len(names), 1)
        grid = torch.cat([p.transpose(1, 2).reshape(len(p), -1, height, width) for p in parts], 1)
    inputs = [torch.cat([maps[j][i] for j in range(len(names))], 1) for i in range(4)] + [
        network.reduction(grid)
    ]
    fused = []
    for block, features in zip(network.decoder.fusion, inputs, strict=True):
        for layer in (block.first, *block.rest):
            features = preconv(layer, features, norm)
        fused.append(features)
    state = fused[4]
    for step, skip in zip(network.decoder.steps, fused[3::-1], strict=True):
        up = F.interpolate(state, scale_factor=2, mode="bilinear", align_corners=True)
        joined = torch.cat([skip, preconv(step.lift, up, norm)], 1)
        state = preconv(step.mix, preconv(step.merge, joined, norm), norm)
    return network.decoder.head(state)


@pytest.mark.parametrize(
    ("count", "norm", "layout"),
    [
        *product((1, 2, 3), ("instance", "layer"), ("modality_major", "sequential")),
        (4, "instance", "modality_major"),
        (4, "layer", "sequential"),
    ],
)
def test_every_subset_equals_the_equations(count, norm, layout):
    """The cached sum of partial convolutions, in evaluation and in training, is the concatenation
    with zeros.
    """
    network = build(count, norm=norm, layout=layout, dropout=0.0)
    given = images(dict(list(CHANNELS.items())[:count]), 1, SIZE)
    with torch.no_grad():
        encoded = network.encode(given)
        for shown in subsets(list(given)):
            expected = literal(network, given, shown, layout)
            for training in (False, True):
                found = network.train(training).fuse({m: encoded[m] for m in shown})[0]
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
            network.eval()


@pytest.mark.parametrize("count", [2, 3, 4])
def test_fusion_is_the_sum_of_what_is_kept_per_modality(count):
    """Dossier check 7, to 1e-6: F_i on the masked concatenation against the kept responses plus the
    bias.
    """
    network = build(count)
    given = images(dict(list(CHANNELS.items())[:count]), 1, SIZE)
    with torch.no_grad():
        encoded = network.encode(given)
        pyramids = {m: network.encoders[m](given[m]) for m in given}
        for shown in subsets(list(given)):
            for i, block in enumerate(network.decoder.fusion[:4]):
                parts = [
                    pyramids[m][i] if m in shown else torch.zeros_like(pyramids[m][i])
                    for m in given
                ]
                masked = preconv(block.first, torch.cat(parts, 1), "instance")
                kept = (
                    sum(encoded[m].skips[i] for m in shown) + block.first.conv.bias[:, None, None]
                )
                scale = masked.abs().max()
                torch.testing.assert_close(kept / scale, masked / scale, rtol=0, atol=1e-6)
                found = network._skip(i, {m: encoded[m].skips[i] for m in shown})
                torch.testing.assert_close(found, block.rest(masked), rtol=1e-5, atol=1e-5)


def test_tokens_of_an_absent_modality_are_its_positions():
    """Dossier B3: they are keys and values like all others, a learned constant."""
    network, given = build(2), images(dict(list(CHANNELS.items())[:2]), 1, SIZE)
    with torch.no_grad():
        alone = network.encode({"rgb": given["rgb"]})
        before = network.fuse(alone)[0]
        network.tables["dsm"].add_(1.0)
        network.tables["dsm"][:, 3] += torch.randn(16)
        assert (network.fuse(alone)[0] - before).abs().max() > 1e-3


def test_layouts_differ_only_in_where_tokens_go():
    aligned, released = build(2), build(2, layout="sequential")
    assert all(
        torch.equal(a, b) for a, b in zip(aligned.parameters(), released.parameters(), strict=True)
    )
    given = images(dict(list(CHANNELS.items())[:2]), 1, SIZE)
    with torch.no_grad():
        assert not torch.allclose(aligned(given), released(given), atol=1e-3)
