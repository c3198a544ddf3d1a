"""Parameters and multiply-accumulates of CMNeXt against the dossier's figures (section 5.4)."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.cmnext.auxiliary import PoolingBlock, make_scorer
from methods.cmnext.exchange import CrossFusion, Rectification
from methods.cmnext.network import CMNeXtNetwork
from methods.parts.heads import AllMLPHead

WIDTHS, SIDES = (64, 128, 320, 512), (128, 64, 32, 16)
SENSORS = {"rgb": 3, "dsm": 1, "sar": 2, "event": 5}
# by number of modalities
PRIMARY_AND_HEAD = {"pvt_v2_b2": 25_376_965, "pvt_v2_b0": 3_805_797}
BETWEEN = {
    "pvt_v2_b2": {1: 0, 2: 32_909_176, 3: 32_933_760, 4: 32_947_076},
    "pvt_v2_b0": {1: 0, 2: 6_570_880, 3: 6_583_176, 4: 6_589_836},
}
SUITE = {1: 25_376_965, 2: 58_286_141, 3: 58_310_725, 4: 58_324_041}
RELEASED = {1: 25_785_049, 2: 58_694_225, 3: 58_718_809, 4: 58_732_125}
PRINTED = {1: 25.79, 2: 58.69, 3: 58.72, 4: 58.73}  # in the authors' read-me, in millions
MIT_B2 = 24_196_288


@cache
def network(count: int = 3, backbone: str = "pvt_v2_b2") -> CMNeXtNetwork:
    with torch.device("meta"):
        return CMNeXtNetwork(dict(list(SENSORS.items())[:count]), 5, backbone=backbone).eval()


def size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_parameters(count: int) -> None:
    for backbone, between in BETWEEN.items():
        parts = count_parameters(network(count, backbone=backbone))
        assert parts["encoder"] + parts["head"] == PRIMARY_AND_HEAD[backbone]
        assert parts["total"] == PRIMARY_AND_HEAD[backbone] + between[count]
    assert SUITE[count] == PRIMARY_AND_HEAD["pvt_v2_b2"] + BETWEEN["pvt_v2_b2"][count]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_parameters_as_released(count: int) -> None:
    """All but MiT-B2 is built here, with its widths, a head of 512 and 25 classes."""
    parts = count_parameters(network(count))
    with torch.device("meta"):
        head = size(AllMLPHead(WIDTHS, 25, 512))
    whole = parts["total"] - parts["encoder"] - parts["head"] + MIT_B2 + head
    assert whole == RELEASED[count] and round(whole / 1e6, 2) == PRINTED[count]


def test_a_resnet_gets_the_difference_back() -> None:
    """The encoder with its reductions is 24,966,208, as in the control."""
    for count in (2, 3):
        parts = count_parameters(network(count, backbone="resnet50"))
        assert parts["feedback"] == 409_600 == 256 * 64 + 512 * 128 + 1024 * 320
        assert parts["total"] - parts["encoder"] == SUITE[count] - 24_849_856 + 409_600


@pytest.mark.parametrize("width", [32, 320])
def test_formulas_of_the_parts(width: int) -> None:
    with torch.device("meta"):
        assert size(Rectification(width)) == 26 * width**2 + 9 * width + 2
        assert size(CrossFusion(width, 1)) == 17 * width**2 + 26 * width
        assert size(make_scorer(width)) == 11 * width + 1
        for ratio in (4, 8):
            expected = (2 * ratio + 1) * width**2 + (58 + 11 * ratio) * width + 3
            assert size(PoolingBlock(width, ratio)) == expected


def test_sums_of_the_parts() -> None:
    built = network()
    millions = {
        "embed": sum(size(stage.embed) for stage in built.auxiliary),
        "blocks": sum(size(stage.blocks) for stage in built.auxiliary),
        "rectification": size(built.rectification),
        "fusion": size(built.fusion),
    }
    rounded = {name: round(count / 1e6, 2) for name, count in millions.items()}
    assert rounded == {"embed": 1.93, "blocks": 14.39, "rectification": 10.02, "fusion": 6.57}


def test_multiply_accumulates_of_the_parts() -> None:
    built, found = network(), dict.fromkeys(("embed", "scorer", "blocks", "frm", "ffm"), 0.0)
    given = torch.zeros(1, 3, 512, 512, device="meta")
    for stage, frm, ffm, width, side in zip(
        built.auxiliary, built.rectification, built.fusion, WIDTHS, SIDES, strict=True
    ):
        maps = torch.zeros(1, width, side, side, device="meta")
        calls = {
            "embed": lambda stage=stage, given=given: stage.embed(given),
            "scorer": lambda stage=stage, maps=maps: stage.scorers["dsm"](maps),
            "blocks": lambda stage=stage, maps=maps: stage.blocks(maps),
            "frm": lambda frm=frm, maps=maps: frm(maps, maps),
            "ffm": lambda ffm=ffm, maps=maps: ffm(maps, maps),
        }
        for name, call in calls.items():
            found[name] += count_gmac(call)
        given = maps
    shapes = zip(WIDTHS, SIDES, (8, 8, 4, 4), (3, 4, 6, 3), strict=True)
    blocks = 0
    for c, side, ratio, depth in shapes:
        per_pixel = (2 * ratio + 1) * c**2 + (49 + 9 * ratio) * c
        blocks += depth * (per_pixel * side**2 + 3 * c)
    assert found["blocks"] == pytest.approx(blocks / 1e9, abs=1e-9)
    # 16.295, which the dossier cuts
    expected = {"embed": 1.21, "scorer": 0.02, "blocks": 16.295, "frm": 0.63, "ffm": 5.74}
    assert found == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("count", "gmac"), [(2, 44.11), (3, 45.36), (4, 46.59)])
def test_multiply_accumulates_of_the_whole(count: int, gmac: float) -> None:
    """PVT-v2-b2 takes 24.18 GMAC where MiT-B2 takes 20.24; the head is not counted."""
    built = network(count)
    head = network(1).head
    images = {
        m: torch.zeros(1, c, 512, 512, device="meta") for m, c in list(SENSORS.items())[:count]
    }

    def run() -> Tensor:
        return built.fuse(built.encode(images))[0]

    maps = [torch.zeros(1, c, s, s, device="meta") for c, s in zip(WIDTHS, SIDES, strict=True)]
    without_head = count_gmac(run) - count_gmac(lambda: head(maps))
    assert without_head - 24.18 + 20.24 == pytest.approx(gmac, abs=0.02)
