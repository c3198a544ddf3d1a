"""Parameters and multiply-accumulates of IMLT with PVT-v2-b2, three modalities, 512 px (dossier
4.6, 4.8, 5.7).
"""

from __future__ import annotations

import pytest
import torch

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.imlt.contrastive_loss import AttentionPool
from methods.imlt.fusion import FusionLayer, head_count
from methods.imlt.network import IMLTNetwork
from tests.support.method_checks import (
    subsets,
)

WIDTHS, SIDES = (64, 128, 320, 512), (128, 64, 32, 16)
THREE = ("rgb", "dsm", "nir")


def network(modalities=THREE, classes: int = 5, **options) -> IMLTNetwork:
    with torch.device("meta"):
        return IMLTNetwork(modalities, classes, **options)


def maps() -> list[torch.Tensor]:
    return [torch.zeros(1, c, s, s, device="meta") for c, s in zip(WIDTHS, SIDES, strict=True)]


def fusion_gmac(whole: IMLTNetwork, present: int) -> float:
    """Of the fusion layers alone, with the first of the modalities.

    The counter sees matrix products and fused attention. The modality attention is elementwise
    here: C multiply-
    accumulates per key, position and of logit and value are added by hand."""

    def call() -> None:
        for layer, features in zip(whole.fusion, maps(), strict=True):
            layer.fuse([layer.project_modality(m, features) for m in range(present)])

    elementwise = sum(2 * (present + 1) * c * s * s for c, s in zip(WIDTHS, SIDES, strict=True))
    return count_gmac(call) + elementwise / 1e9


def test_parameters_of_the_default():
    whole = network()
    counts = count_parameters(whole)
    assert [count_parameters(layer)["total"] for layer in whole.fusion] == [
        74_304,
        263_296,
        1_518_400,
        3_805_696,
    ]
    assert round(counts["fusion"] / 1e6, 3) == 5.662
    assert counts["head"] == 527_109
    assert round((counts["fusion"] + counts["head"]) / 1e6, 3) == 6.189
    assert counts["encoder"] == 24_849_856
    assert round(counts["pool"] / 1e6, 2) == 3.15
    plain = count_parameters(network(contrast="none"))
    assert "pool" not in plain and plain["total"] == counts["total"] - counts["pool"]


@pytest.mark.parametrize("modalities", [("a",), ("a", "b"), THREE, (*THREE, "sar")])
def test_parameters_follow_the_closed_form(modalities):
    """Per scale, twice: 4 C^2 and two gains of an attention, 3 C^2 and a gain of a feed-forward;
    the token grid, M modality vectors.
    """
    fusion = network(modalities).fusion
    assert count_parameters(fusion)["total"] == sum(
        14 * c * c + (6 + 256 + len(modalities)) * c for c in WIDTHS
    )


def test_blocks_and_pooling_have_the_authors_sizes():
    """Dossier 2.2 and 2.7, at a width of 192: blocks of 0.443 M, attention pool and its MLP."""
    with torch.device("meta"):
        layer, pool = FusionLayer(192, 3, ff_mult=8 / 3), AttentionPool(192, 3)
    blocks = (
        (layer.modality_attention, layer.modality_feed_forward),
        (layer.stream_attention, layer.feed_forward),
    )
    for block in blocks:
        assert round(sum(count_parameters(part)["total"] for part in block) / 1e6, 3) == 0.443
    attention = (pool.query_norm, pool.query, pool.key_value, pool.out)
    assert round(sum(count_parameters(part)["total"] for part in attention) / 1e6, 3) == 0.148
    assert round(count_parameters(pool.mlp)["total"] / 1e6, 3) == 0.296


@pytest.mark.parametrize(
    ("ff_mult", "millions", "one_less"),
    [
        (1 / 2, 4.507, 9.10),
        (2 / 3, 4.889, 9.25),
        (1, 5.662, 9.56),
        (2, 7.972, 10.48),
        (8 / 3, 9.510, 11.09),
    ],
)
def test_the_table_of_feed_forward_widths(ff_mult, millions, one_less):
    """`one_less`: GMAC of the dossier's table (4.8), which has one feed-forward of the two."""
    whole = network(ff_mult=ff_mult)
    assert round(count_parameters(whole.fusion)["total"] / 1e6, 3) == millions
    assert abs(fusion_gmac(whole, 3) - one_less - second_feed_forward(ff_mult)) < 0.006


def second_feed_forward(ff_mult: float) -> float:
    """GMAC of a feed-forward behind the modality attention at all four scales."""
    return sum(3 * c * int(ff_mult * c) * s * s for c, s in zip(WIDTHS, SIDES, strict=True)) / 1e9


def test_cost_by_number_of_modalities():
    whole = network()
    costs = [fusion_gmac(whole, present) for present in (1, 2, 3)]
    before = [cost - second_feed_forward(1) for cost in costs]
    assert [round(cost, 2) for cost in before] == [5.85, 7.70, 9.56]
    assert round(costs[2] - costs[1], 2) == round(costs[1] - costs[0], 2) == 1.85


def test_resnet_gets_the_same_layers_and_head():
    wide, narrow = count_parameters(network(backbone="resnet50")), count_parameters(network())
    assert all(wide[part] == narrow[part] for part in ("fusion", "pool", "head"))


def test_heads_are_64_wide_where_that_divides():
    assert [head_count(c, 64) for c in WIDTHS] == [1, 2, 5, 8]
    assert [head_count(c, 64) for c in (32, 160, 256)] == [1, 2, 4]
    assert [layer.stream_attention.heads for layer in network().fusion] == [1, 2, 5, 8]


def test_all_subsets_cost_at_most_1_7_full_passes():
    """512 px; with gradients nothing is kept between subsets, so this counts too much for all of
    them.
    """
    whole = network().eval()
    with torch.device("meta"):
        images = {m: torch.zeros(1, 3, 512, 512) for m in THREE}

    def passes(chosen) -> float:
        def call() -> None:
            encoded = whole.encode(images)
            for subset in chosen:
                whole.fuse({m: encoded[m] for m in subset})

        return count_gmac(call)

    everything = list(subsets(list(THREE)))
    assert len(everything) == 7
    assert passes(everything) / passes(everything[-1:]) < 1.7
