"""Parameters and multiply-accumulates of M3L with PVT-v2-b2 against the dossier's figures (sections
5.3, 5.6, 5.8).
"""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.m3l.network import BlockM3L, M3LNetwork, StageM3L
from tests.support.reference_m3l import literal_head

WIDTHS, SIDES = (64, 128, 320, 512), (128, 64, 32, 16)
THREE, FOUR = ("rgb", "dsm", "nir"), ("rgb", "depth", "event", "lidar")
ENCODER, HEAD = 24_849_856, 527_109
ENCODER_MACS = 24_182_259_712
SUBSETS = [subset for count in (1, 2, 3) for subset in combinations(THREE, count)]


def network(
    kind: type[M3LNetwork] = StageM3L, modalities=THREE, classes=5, **options
) -> M3LNetwork:
    with torch.device("meta"):
        return kind(modalities, classes, **options).eval()


def images() -> dict[str, Tensor]:
    return {m: torch.zeros(1, 3, 512, 512, device="meta") for m in THREE}


def macs(action) -> int:
    """Exact, without the folding of the head, which is kept between calls without gradients."""
    with torch.no_grad():
        action()
        with FlopCounterMode(display=False) as counter:
            action()
    return counter.get_total_flops() // 2


def test_parameters_of_stage():
    whole = count_parameters(network())
    assert whole["encoder"] == ENCODER
    assert whole["head"] == HEAD
    assert whole["tokens"] == 1024
    assert whole["norms"] == 2 * 1024 * 3
    added = whole["total"] - ENCODER
    assert added == 527_109 + 1024 + 2 * 1024 * 3
    assert round(added / 1e6, 3) == 0.534 and round((added - HEAD) / 1e6, 4) == 0.0072


@pytest.mark.parametrize("count", [1, 2, 4])
def test_parameters_of_stage_by_modalities(count):
    assert (
        count_parameters(network(modalities=FOUR[:count]))["total"]
        == ENCODER + HEAD + 1024 + 2048 * count
    )


def test_parameters_of_block():
    """53 LayerNorms with 25,984 values, one copy per modality, and one token of 64 values."""
    for modalities in (THREE[:1], THREE, FOUR):
        built = network(BlockM3L, modalities)
        assert (
            count_parameters(built)["total"] == ENCODER + 25_984 * (len(modalities) - 1) + HEAD + 64
        )
        assert sum(isinstance(module, nn.LayerNorm) for module in built.modules()) == 53 * len(
            modalities
        )


def test_resnet_has_nothing_per_modality_but_the_token_in_block():
    stage, block = network(backbone="resnet50"), network(BlockM3L, backbone="resnet50")
    assert (
        count_parameters(stage)["total"] - count_parameters(block)["total"] == 1024 + 2048 * 3 - 64
    )
    assert stage.encoder.channels == block.encoder.channels == WIDTHS


def test_cost_of_the_head_as_the_equations_read():
    """Three textbook decodes of 4.84 GMAC; fusion, norms and tokens are elementwise."""
    built = network()
    features = {
        m: [torch.zeros(1, c, s, s, device="meta") for c, s in zip(WIDTHS, SIDES, strict=True)]
        for m in THREE
    }
    assert round(count_gmac(lambda: literal_head(built, features)), 2) == 14.51


def test_cost_of_all_subsets_of_stage():
    """Three projections when encoding (the encoder itself is counted with gradients, for its
    attention), then one
    classifier and the tokens' four vectors per subset: 7 subsets cost little more than a full
    pass."""
    built = network()
    projected = sum(256 * c * s * s for c, s in zip(WIDTHS, SIDES, strict=True))
    maps = [torch.zeros(1, c, s, s, device="meta") for c, s in zip(WIDTHS, SIDES, strict=True)]
    assert macs(lambda: built.head.mix_scales(maps)) == projected
    assert count_gmac(lambda: built.encoder(images())) == pytest.approx(
        3 * ENCODER_MACS / 1e9, abs=1e-9
    )
    with torch.no_grad():
        encoded = built.encode(images())
    decodes = [
        macs(lambda subset=subset: built.fuse({m: encoded[m] for m in subset}))
        for subset in SUBSETS
    ]
    assert decodes == [256 * 5 * SIDES[0] ** 2 + 256 * sum(WIDTHS)] * 7
    encode = 3 * (ENCODER_MACS + projected)
    assert (encode + sum(decodes)) / (encode + decodes[-1]) < 1.01


def test_cost_of_all_subsets_of_block():
    """Nothing behind the patch embedding can be kept: every subset costs M streams, 21 instead of 3
    in all.
    """
    built = network(BlockM3L)
    with torch.no_grad():
        encoded = built.encode(images())
    embedding = 3 * 64 * 49 * SIDES[0] ** 2
    head = sum(256 * c * s * s for c, s in zip(WIDTHS, SIDES, strict=True))
    folding = 256 * 256 * sum(WIDTHS)
    expected = 3 * (ENCODER_MACS - embedding + head) + 256 * 5 * SIDES[0] ** 2 + folding
    for subset in SUBSETS:
        found = count_gmac(lambda subset=subset: built.fuse({m: encoded[m] for m in subset}))
        assert found == pytest.approx(expected / 1e9, abs=1e-9)
