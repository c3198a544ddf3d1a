"""Parameters and products of MuSS by concatenation: the dossier's sections 4.1 and 4.7."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.muss.network import MuSSNetwork
from methods.parts.heads import AllMLPHead, upsample_bilinear
from tests.methods.muss.test_muss import SIDES, WIDTHS


def whole(backbone: str = "pvt_v2_b2", **options) -> MuSSNetwork:
    with torch.device("meta"):
        return MuSSNetwork(("rgb", "dsm", "nir"), 5, backbone=backbone, **options).eval()


def test_parameters():
    counted = count_parameters(whole())
    assert [round(counted[part] / 1e6, 3) for part in ("fusion", "head", "aux")] == [
        1.543,
        0.527,
        0.739,
    ]
    assert round((counted["fusion"] + counted["head"]) / 1e6, 2) == 2.07
    assert round((counted["fusion"] + counted["head"] + counted["aux"]) / 1e6, 2) == 2.81
    assert counted["encoder"] == 24_849_856
    squares, sums = sum(c * c for c in WIDTHS), sum(WIDTHS)
    assert counted["fusion"] == 4 * squares + 3 * sums
    assert "aux" not in count_parameters(whole(aux=False))


def test_resnet_has_heads_of_the_same_size():
    counted, pvt = count_parameters(whole("resnet50")), count_parameters(whole())
    assert all(counted[part] == pvt[part] for part in ("fusion", "head", "aux"))
    native = whole("resnet50", reduction=None)
    assert round(count_parameters(native.fusion[3])["first"] / 1e6, 1) == 12.6


def segformer(head: AllMLPHead, maps: list[Tensor]) -> Tensor:
    """The head in the textbook's order: project, upsample_bilinear, concatenate, fuse, classify."""
    wide = [
        upsample_bilinear(project(x), maps[0].shape[-2:])
        for project, x in zip(head.projections, maps, strict=True)
    ]
    return head.classifier(F.relu(head.norm(head.fusion(torch.cat(wide, 1)))))


def test_cost():
    """Fusion 1.22 GMAC, with the head in the textbook's order 6.06 (dossier 4.7)."""
    network = whole()
    with torch.device("meta"):
        features = [torch.zeros(1, c, s, s) for c, s in zip(WIDTHS, SIDES, strict=True)]

    def fuse() -> list[Tensor]:
        pairs = list(zip(network.fusion, features, strict=True))
        return [
            fusion([fusion.partial_product(m, x) for m in network.modalities])
            for fusion, x in pairs
        ]

    assert round(count_gmac(fuse), 2) == 1.22
    assert round(count_gmac(lambda: segformer(network.head, fuse())), 2) == 6.06


def test_every_subset_costs_little_beyond_one_full_pass():
    """Only the second 1x1 convolutions (C^2 per pixel) and the folded head depend on the subset
    (dossier 4.5).
    """
    network = whole()
    with torch.device("meta"):
        given = {m: torch.zeros(1, 3, 512, 512) for m in network.modalities}
    encoded = network.encode(given)
    alone = count_gmac(lambda: network.fuse({"rgb": encoded["rgb"]}))
    assert alone == count_gmac(lambda: network.fuse(encoded))
    pixels = [side**2 for side in SIDES]
    second = sum(c * c * n for c, n in zip(WIDTHS, pixels, strict=True))
    folded = sum(256 * c * n for c, n in zip(WIDTHS, pixels, strict=True)) + 256 * 5 * pixels[0]
    making = sum(
        256 * 256 * c for c in WIDTHS
    )  # of the fold itself, which eval without gradients keeps
    assert round(alone * 1e9) == second + folded + making
    assert (count_gmac(lambda: network.encode(given)) + 7 * alone) / count_gmac(
        lambda: network(given)
    ) < 1.7
