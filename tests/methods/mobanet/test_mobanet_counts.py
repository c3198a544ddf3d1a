"""Trainable parameters to the last digit, and multiply-accumulates, against the dossier (sections
4, 8, 10).
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.mobanet.decoder import LEVEL_WIDTH
from methods.mobanet.module import MoBaNet
from methods.mobanet.network import MoBaNetNetwork
from tests.support.method_checks import (
    CHANNELS,
)
from tests.support.mobanet_tiny import VARIANTS

SMALL, BASE, LARGE = (f"vit_{size}_patch14_dinov2" for size in ("small", "base", "large"))
TWO = {"rgb": 3, "dsm": 1}
ROWS = [VARIANTS[name] for name in ("mobanet_base", "mobanet_cpia", "mobanet_cpia_dgfm", "mobanet")]
# heads, C -> the four rows of the ablation, then the full model with the adapters of eq. 9
TOTALS = {
    SMALL: (1_288_960, 1_813_888, 2_067_712, 3_251_456, 3_476_096),
    BASE: (1_908_352, 3_990_400, 4_995_712, 6_179_456, 7_071_104),
    LARGE: (2_321_280, 6_014_848, 7_797_632, 8_981_376, 10_563_456),
    "samvit_base_patch16": (2_046_592, 4_128_640, 5_133_952, 6_317_696),
    "samvit_large_patch16": (2_505_600, 6_199_168, 7_981_952, 9_165_696),
}
FROZEN = {SMALL: 22_056_192, BASE: 86_579_712, LARGE: 304_367_616}


def network(backbone: str = BASE, modalities=TWO, classes: int = 6, **options) -> MoBaNetNetwork:
    heads = options.pop("mcrm", True)
    with torch.device("meta"):
        return MoBaNetNetwork(modalities, classes, backbone, heads=heads, **options).eval()


def count(module: nn.Module) -> int:
    return count_parameters(module)["total"]


@pytest.mark.parametrize("backbone", TOTALS)
def test_rows_of_the_ablation(backbone):
    rows = [*ROWS, {"cpia": "paper_eq9"}][: len(TOTALS[backbone])]
    assert tuple(count(network(backbone, **row)) for row in rows) == TOTALS[backbone]


def test_table_iv_of_the_paper():
    assert [round(total / 1e6, 2) for total in TOTALS[BASE][:4]] == [1.91, 3.99, 5.00, 6.18]


def test_the_module_has_the_networks_parameters():
    with torch.device("meta"):
        built = MoBaNet(TWO, 6, backbone=BASE, pretrained=False)
    assert (
        count_parameters(built)["total"] == 6_179_456 == sum(p.numel() for p in built.parameters())
    )


@pytest.mark.parametrize("backbone", FROZEN)
def test_frozen_weights(backbone):
    frozen = sum(value.numel() for value in network(backbone).backbone.buffers())
    assert frozen == FROZEN[backbone]
    # with the mask token of the original checkpoint
    totals = {BASE: (92_759_936, 91_576_192), LARGE: (313_350_016, 312_166_272)}
    if backbone in totals:
        width = network(backbone).backbone.width
        whole = frozen + width + TOTALS[backbone][3]
        assert (whole, whole - 2 * 591_872) == totals[backbone]


def test_modules_of_vit_base():
    built = network()
    cpia, dgfm, head = built.cpia[0], built.dgfm[0], built.head
    assert (
        count(built.embeddings) == 452_352
        and count(built.projections) == 786_432
        and count(head) == 669_568
    )
    assert count(cpia) == 520_512 and count(dgfm) == 249_792 and count(built.norms[0]) == 1_536
    assert [count(head) for head in built.heads] == [591_872] * 2
    assert [count(layer) for layer in cpia.down] == [147_648] * 2
    assert (count(cpia.mix), count(cpia.up)) == (73_920, 148_224)
    assert sum(p.numel() for p in (*cpia.gamma, *cpia.beta)) == 3_072
    assert [count(layer) for layer in dgfm.reductions] == [73_728] * 2
    assert (count(dgfm.gate_in), count(dgfm.gate_norm), count(dgfm.gate_out)) == (
        27_648,
        192,
        74_496,
    )
    assert (count(head.pools), count(head.bottleneck), count(head.laterals)) == (
        66_048,
        295_040,
        49_536,
    )
    assert (count(head.smooth), count(head.fusion), count(head.classifier)) == (
        110_976,
        147_584,
        384,
    )
    assert [count(adapter) for adapter in network(cpia="paper_eq9").cpia[0].adapters] == [
        111_456
    ] * 2


@pytest.mark.parametrize("backbone", [BASE, LARGE])
def test_modules_of_a_stage_by_width(backbone):
    built = network(backbone)
    expected = {BASE: (520_512, 249_792, 452_352), LARGE: (923_392, 443_648, 603_136)}[backbone]
    assert (count(built.cpia[3]), count(built.dgfm[3]), count(built.embeddings)) == expected


@pytest.mark.parametrize("streams", [1, 2, 3, 4])
def test_more_streams(streams):
    """Ours: another copy of the patch embedding, down-projection, modulation, gate logits,
    reduction and head each, and
    room for all pairs of differences."""
    width, inner, gate, classes = 768, 192, 96, 6
    cpia = (
        streams * (width * inner + inner)
        + (streams * inner * inner + inner)
        + (inner * width + width)
    )
    cpia += 2 * streams * width
    pairs = streams * (streams - 1) // 2
    dgfm = (
        streams * width * gate
        + (streams + pairs) * gate * gate
        + 2 * gate
        + (streams - 1) * (gate + 1) * width
    )
    fused = 4 * (dgfm + 2 * width) if streams > 1 else 0
    heads = streams * (9 * 256 * 256 + 2 * 256 + 256 * classes)
    embeddings = (streams - 1) * (3 * 14 * 14 * width + width)
    total = embeddings + 4 * cpia + fused + 4 * 256 * width + 669_568 + heads
    assert count(network(modalities=dict(list(CHANNELS.items())[:streams]))) == total


@pytest.mark.parametrize(
    ("backbone", "taps"), [(SMALL, (2, 5, 8, 11)), (BASE, (2, 5, 8, 11)), (LARGE, (5, 11, 17, 23))]
)
def test_taps(backbone, taps):
    """Check 1."""
    assert network(backbone).backbone.last_blocks == taps


def cost(built: MoBaNetNetwork, side: int) -> float:
    given = {m: torch.zeros(1, c, side, side, device="meta") for m, c in TWO.items()}
    return count_gmac(lambda: built.fuse(built.encode(given)))


@pytest.mark.parametrize(
    ("backbone", "side", "gflop"), [(BASE, 266, 137.6), (LARGE, 266, 470.6), (BASE, 518, 622.8)]
)
def test_cost(backbone, side, gflop):
    """The released code also projects both streams at every stage, which only stage 1 in training
    needs.
    """
    built, grid = network(backbone), side // 14
    unused = 8 * built.backbone.width * LEVEL_WIDTH * grid**2 / 1e9
    assert round(2 * (cost(built, side) + unused), 1) == gflop


def test_cost_of_the_parts_at_266():
    built, tokens = network(), 19 * 19
    maps = [torch.zeros(1, 768, 19, 19, device="meta")] * 2
    rows = [torch.zeros(1, 19, 19, 768, device="meta")] * 2
    levels = [torch.zeros(1, LEVEL_WIDTH, 19, 19, device="meta")] * 4
    assert round(2 * count_gmac(lambda: built.cpia[0](rows)), 2) == 0.37
    assert round(2 * count_gmac(lambda: built.dgfm[0](maps)), 2) == 0.18
    assert round(2 * count_gmac(lambda: built.head(levels)), 2) == 0.44
    assert round(2 * 3 * 768 * LEVEL_WIDTH * tokens / 1e9, 2) == 0.43
    image = torch.zeros(1, 3, 266, 266, device="meta")
    assert round(2 * count_gmac(lambda: built.backbone.embed_patches(image)), 2) == 0.33


def test_every_subset_costs_a_pass_with_prompts_and_only_fusion_without():
    """Dossier 7: encode holds the patch embeddings alone with CPIA, and whole streams without."""
    given = {m: torch.zeros(1, c, 266, 266, device="meta") for m, c in TWO.items()}
    shares = []
    for row in (ROWS[3], ROWS[0]):
        built = network(**row)
        with torch.no_grad():
            encoded = built.encode(given)
        full = cost(built, 266)
        shares.append(count_gmac(lambda built=built, encoded=encoded: built.fuse(encoded)) / full)
    assert shares[0] > 0.99 and shares[1] < 0.01
