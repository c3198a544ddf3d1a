"""Parameters and multiply-accumulates of StitchFusion against the dossier (section 7.4)."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from benchmark.profiling.complexity import count_gmac
from methods.parts.heads import AllMLPHead
from methods.stitchfusion.adapters import Adapter
from methods.stitchfusion.fusion import FusionBlock
from methods.stitchfusion.network import PlainStreams, StitchedStreams

WIDTHS, SIDES = (64, 128, 320, 512), (128, 64, 32, 16)
SENSORS = {"rgb": 3, "dsm": 1, "sar": 2, "event": 5}
# by number of modalities
ADAPTERS = {
    "pvt_v2_b2": {2: 144_000, 3: 432_000, 4: 864_000},
    "pvt_v2_b0": {2: 36_096, 3: 108_288, 4: 216_576},
}
FUSION = {
    "pvt_v2_b2": {2: 2_455_552, 3: 2_840_576, 4: 3_225_600},
    "pvt_v2_b0": {2: 638_208, 3: 734_464, 4: 830_720},
}
SUITE = {2: 27_976_517, 3: 28_649_541, 4: 29_466_565}
WITHOUT = {2: 27_832_517, 3: 28_217_541, 4: 28_602_565}
RELEASED = {2: 28_384_601, 3: 29_057_625, 4: 29_874_649}
MMSFORMER = {2: 41_392_025, 3: 54_928_473, 4: 68_464_921}
PVT_B2 = 24.182259712  # GMAC, as of the control
MIT_B1, MIT_B2 = 13_151_424, 24_196_288
# GMAC at 512 px: adapters, fusion block, both with the M passes of MiT-B2
GMAC = {2: (0.51, 2.01, 42.98), 3: (1.52, 2.31, 64.53), 4: (3.03, 2.62, 86.59)}


@cache
def network(count: int, backbone: str = "pvt_v2_b2") -> StitchedStreams:
    sensors = dict(list(SENSORS.items())[:count])
    with torch.device("meta"):
        return StitchedStreams(sensors, 5, parallel=False, backbone=backbone).eval()


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("count", [2, 3, 4])
def test_parameters(count: int) -> None:
    for backbone in ADAPTERS:
        built = network(count, backbone)
        assert size(built.stitches) == ADAPTERS[backbone][count]
        assert size(built.fusion) == FUSION[backbone][count]
    with torch.device("meta"):
        plain = PlainStreams(dict(list(SENSORS.items())[:count]), 5)
    assert size(network(count)) == SUITE[count] and size(plain) == WITHOUT[count]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_parameters_as_released(count: int) -> None:
    """All but MiT is built here, with its widths, a head of 512 and 25 classes."""
    built = network(count)
    with torch.device("meta"):
        around = MIT_B2 + size(built.fusion) + size(AllMLPHead(WIDTHS, 25, 512))
    assert around + size(built.stitches) == RELEASED[count]
    assert around + (count - 1) * MIT_B1 == MMSFORMER[count]


@pytest.mark.parametrize("width", [64, 320])
def test_formulas_of_the_parts(width: int) -> None:
    with torch.device("meta"):
        assert size(Adapter(width)) == 17 * width + 80
        for count in (1, 3):
            expected = (count + 4) * width**2 + width**2 // 8 + 95 * width
            assert size(FusionBlock(count, width)) == expected


def test_a_resnet_has_one_adapter_per_pair_and_residual_block() -> None:
    assert size(network(3, "resnet50").stitches) == 774_144


def test_multiply_accumulates_of_an_adapter() -> None:
    with torch.device("meta"):
        adapter, rows = Adapter(64), torch.zeros(1, 10, 64)
    assert count_gmac(lambda: adapter(rows)) == pytest.approx(10 * (16 * 64 + 64) / 1e9, abs=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_multiply_accumulates(count: int) -> None:
    built, adapters, fusion = network(count), 0.0, 0.0
    for block, width, side, depth in zip(built.fusion, WIDTHS, SIDES, (3, 4, 6, 3), strict=True):
        maps = torch.zeros(1, width, side, side, device="meta")
        adapters += 2 * depth * count * (count - 1) * side**2 * (16 * width + 64) / 1e9

        def fuse(block: FusionBlock = block, maps: Tensor = maps) -> Tensor:
            return block.finish(sum(block.part(index, maps) for index in range(count)))

        fusion += count_gmac(fuse)
    assert (round(adapters, 2), round(fusion, 2)) == GMAC[count][:2]
    # the dossier's third figure is that of M passes of MiT-B2, 20.24 rounded
    assert adapters + fusion + 20.24 * count == pytest.approx(
        GMAC[count][2], abs=0.005 * (count + 1)
    )
    images = {
        m: torch.zeros(1, c, 512, 512, device="meta") for m, c in list(SENSORS.items())[:count]
    }
    whole = count_gmac(lambda: built.fuse(built.encode(images)))
    maps = [torch.zeros(1, c, s, s, device="meta") for c, s in zip(WIDTHS, SIDES, strict=True)]
    head = count_gmac(lambda: built.head(maps))
    assert whole == pytest.approx(adapters + fusion + count * PVT_B2 + head, abs=1e-9)
