"""Parameters and multiply-accumulates of SGMA with PVT-v2-b2 against the dossier's figures
(sections 12 and 16).
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.parts.backbones import SharedEncoder
from methods.parts.heads import AllMLPHead
from methods.sgma.network import SGMANetwork
from methods.sgma.sgf import SGFScale
from tests.support.reference_sgf import literal_sgf

WIDTHS, SIDES = (64, 128, 320, 512), (128, 64, 32, 16)
THREE, FOUR = ("rgb", "dsm", "nir"), ("rgb", "depth", "event", "lidar")


def count(module: nn.Module) -> int:
    return count_parameters(module)["total"]


def scales(modalities=THREE, classes=5, **options) -> list[SGFScale]:
    with torch.device("meta"):
        return [SGFScale(width, classes, modalities, **options) for width in WIDTHS]


def network(modalities=THREE, classes=5, **options) -> SGMANetwork:
    with torch.device("meta"):
        return SGMANetwork(modalities, classes, **options)


def total(parts) -> int:
    return sum(count(part) for part in parts)


def test_parameters_of_the_whole():
    whole = network()
    assert count_parameters(whole) == {
        "total": 30_170_329,
        "encoder": 24_849_856,
        "sgf": 4_793_364,
        "head": 527_109,
    }
    assert count(network(classes=2).sgf) == 4_790_280
    assert count(network(FOUR, 25).sgf) == 5_383_268


def test_parameters_by_scale_and_part():
    parts = scales()
    assert [count(part) for part in parts] == [79_941, 249_989, 1_300_805, 3_162_629]
    for modality in THREE:
        assert [count(part.projectors[modality]) for part in parts] == [
            15_616,
            39_424,
            160_000,
            354_304,
        ]
    attention = [16_384, 65_536, 409_600, 1_048_576]
    assert [count(part.sp) for part in parts] == attention
    assert [count(part.rp) for part in parts] == attention
    assert [count(part.semantic_filter) for part in parts] == [325, 645, 1_605, 2_565]


def test_parameters_of_the_options():
    plain = total(scales())
    assert total(scales(attn_bias=True)) - plain == 8_192
    assert total(scales(depthwise_bias=True)) - plain == 9_216
    assert total(scales(pointwise_bias=False)) - plain == -3_072
    assert total(scales(mp_mode="sequential")) == plain
    assert total(scales((*THREE, "sar"))) - plain == 569_344


@pytest.mark.parametrize(("modalities", "classes"), [(THREE, 5), (FOUR, 25), (("a", "b"), 2)])
def test_parameters_follow_the_closed_form(modalities, classes):
    expected = sum(
        len(modalities) * (179 * c + c * c + c) + classes * (c + 1) + 8 * c * c for c in WIDTHS
    )
    assert total(scales(modalities, classes)) == expected


def test_additive_fusion_has_encoder_and_head_only():
    assert count(network(fusion="additive", mas=False)) == 24_849_856 + 527_109


def test_resnet_is_reduced_unless_told_otherwise():
    reduced = network(backbone="resnet50")
    assert reduced.encoder.channels == WIDTHS and count(reduced.sgf) == 4_793_364
    assert (
        count(reduced.encoder)
        == 23_508_032 + sum(4 * c * c for c in (64, 128)) + 1024 * 320 + 2048 * 512
    )
    native = network(backbone="resnet50", reduction=None)
    assert round(count(native.sgf) / 1e6, 2) == 63.37


def features(device: str = "meta") -> list[dict[str, torch.Tensor]]:
    return [
        {m: torch.zeros(1, c, s, s, device=device, requires_grad=True) for m in THREE}
        for c, s in zip(WIDTHS, SIDES, strict=True)
    ]


def test_cost_of_sgf_as_the_equations_read():
    pairs = list(zip(scales(), features(), strict=True))
    assert (
        count_gmac(lambda: [literal_sgf(part, given) for part, given in pairs])
        == 9_492_037_632 / 1e9
    )


def test_cost_of_sgf_as_computed():
    """The counter sees matrix products and convolutions. Three weighted sums over the modalities
    (SP's values, RP's
    logits and values) are elementwise here; their 3 M C N multiply-accumulates are added by
    hand."""
    pairs = [
        (part.train(), given.items()) for part, given in zip(scales(), features(), strict=True)
    ]
    counted = count_gmac(
        lambda: [
            part.fuse([part.project_modality(m, x) for m, x in given]) for part, given in pairs
        ]
    )
    elementwise = sum(3 * len(THREE) * c * s * s for c, s in zip(WIDTHS, SIDES, strict=True))
    assert round(counted * 1e9) + elementwise == 6_713_925_632


def test_cost_of_the_encoder():
    with torch.device("meta"):
        encoder, image = SharedEncoder("pvt_v2_b2").eval(), torch.zeros(1, 3, 512, 512)
    assert count_gmac(lambda: encoder({"rgb": image})) == 24_182_259_712 / 1e9


def test_cost_of_the_head():
    """Textbook order 4.84 GMAC (dossier section 6); folded, one C_i -> E product per scale and the
    classifier.

    Counted without gradients, where the fold is kept between calls."""
    with torch.device("meta"):
        head = AllMLPHead(WIDTHS, 5).eval()
        maps = [torch.zeros(1, c, s, s) for c, s in zip(WIDTHS, SIDES, strict=True)]
    pixels = SIDES[0] ** 2
    per_scale = sum(256 * c * s * s for c, s in zip(WIDTHS, SIDES, strict=True))
    assert round((per_scale + 4 * 256 * 256 * pixels + 256 * 5 * pixels) / 1e9, 2) == 4.84
    with torch.no_grad():
        head(maps)
        with FlopCounterMode(display=False) as counter:
            head(maps)
    assert counter.get_total_flops() == 2 * (per_scale + 256 * 5 * pixels)
    assert round(counter.get_total_flops() / 2e9, 2) == 0.54
