"""Parameters and multiply-accumulates of MAGIC against the dossier's figures (sections 2.7, 4.7 and
5).
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from methods.magic.aggregation import Aggregation
from methods.magic.network import MAGICNetwork
from methods.parts.heads import AllMLPHead

WIDTHS, SIDES = (64, 128, 320, 512), (128, 64, 32, 16)
THREE, FOUR = ("rgb", "dsm", "nir"), ("rgb", "depth", "event", "lidar")


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def network(modalities=THREE, classes=5, **options) -> MAGICNetwork:
    with torch.device("meta"):
        return MAGICNetwork(modalities, classes, **{"phi_init": "pytorch", **options})


class NoEncoder(nn.Module):
    """Feature maps of a 512 px image out of nothing, so that only what follows the encoder is
    counted.
    """

    def forward(self, images):
        return {
            m: [torch.zeros(1, c, s, s, device="meta") for c, s in zip(WIDTHS, SIDES, strict=True)]
            for m in images
        }


def textbook(head: AllMLPHead, maps) -> torch.Tensor:
    """SegFormer's order with the head's own layers: project, upsample_bilinear, concatenate, fuse,
    classify.
    """
    wide = [
        F.interpolate(p(x), maps[0].shape[-2:]) for p, x in zip(head.projections, maps, strict=True)
    ]
    return head.classifier(F.relu(head.norm(head.fusion(torch.cat(wide, 1)))))


def cost(model: MAGICNetwork) -> float:
    """GMAC of everything behind the encoder for a full set at 512 px, in the network's mode."""
    model.encoder = NoEncoder()
    images = dict.fromkeys(model.modalities, torch.zeros(1, 3, 512, 512, device="meta"))
    with torch.no_grad():
        model.fuse(model.encode(images))  # folds are made here
        with FlopCounterMode(display=False) as counter:
            model.fuse(model.encode(images))
    return counter.get_total_flops() / 2e9


def test_parameters_of_the_default():
    """Check 9; the total of dossier 4.7 is 0.5275 M."""
    whole = network()
    assert count(whole.head) == 527_109
    part = whole.mam[0]
    assert len(whole.mam) == 1 and count(part) == 405
    assert (count(part.gate.depthwise), count(part.gate.pointwise)) == (250, 30)
    assert [count(phi) for phi in (*part.phi.values(), *part.salient.values())] == [25] * 5
    assert round((count(whole) - count(whole.encoder)) / 1e6, 4) == 0.5275
    assert count(whole.encoder) == 24_849_856


def test_cost_of_the_default(monkeypatch):
    """14.53 GMAC with the head in its textbook order, once per modality."""
    monkeypatch.setattr(AllMLPHead, "forward", textbook)
    assert round(cost(network().eval()), 2) == 14.53


def test_cost_as_computed():
    """The folded head and MAM per modality; a subset costs nothing that is counted."""
    pixels = SIDES[0] ** 2
    head = sum(256 * c * s * s for c, s in zip(WIDTHS, SIDES, strict=True)) + 256 * 5 * pixels
    mam = (49 * 5 + 5 * 5 + 16 * 5) * pixels  # depthwise, pointwise, phi
    assert round(1e9 * cost(network().eval())) == 3 * (head + mam)


@pytest.mark.parametrize(("width", "millions", "gmac"), [(256, 2.12, 6.97), (768, 4.75, 42.41)])
def test_features(monkeypatch, width, millions, gmac):
    """Dossier 4.1 and 4.7; ASM's two convolutions per scale (0.77 M) are counted apart."""
    model = network(level="features", head_width=width)
    asm = sum(count(part.salient) for part in model.mam)
    assert round(asm / 1e6, 2) == 0.77
    assert round((count(model) - count(model.encoder) - asm) / 1e6, 2) == millions
    monkeypatch.setattr(AllMLPHead, "mix_scales", lambda self, maps: list(maps))
    monkeypatch.setattr(AllMLPHead, "activate_mixed", lambda self, maps: maps)
    monkeypatch.setattr(AllMLPHead, "classify_mixed", textbook)
    monkeypatch.setattr("methods.magic.network.mean_of_present", lambda maps, mask: maps[0])
    assert round(cost(model.eval()), 2) == gmac


def mix_transformer(depths, widths=(64, 128, 320, 512), reductions=(8, 4, 2, 1)) -> int:
    """Parameters of SegFormer's encoder (Xie et al. 2021, appendix): MLP ratio 4, biases
    everywhere.
    """
    total, before = 0, 3
    for stage, (c, depth, r) in enumerate(zip(widths, depths, reductions, strict=True)):
        kernel = 7 if stage == 0 else 3
        patches = kernel * kernel * before * c + c + 2 * c
        attention = 4 * (c * c + c) + (r * r * c * c + c + 2 * c if r > 1 else 0)
        feed_forward = (4 * c * c + 4 * c) + (9 * 4 * c + 4 * c) + (4 * c * c + c)
        total += patches + depth * (attention + feed_forward + 4 * c) + 2 * c
        before = c
    return total


@pytest.mark.parametrize(
    ("depths", "widths", "encoder", "head", "total"),
    [
        ((2, 2, 2, 2), (32, 64, 160, 256), 3.319, 0.401, 3.723),
        ((3, 4, 6, 3), (64, 128, 320, 512), 24.196, 0.532, 24.731),
    ],
    ids=["B0", "B2"],
)
def test_published_size(depths, widths, encoder, head, total):
    """Dossier 2.7 and check 9: with MiT, K = 25, M = 4 the published 24.73 M (B2) come out; MAM and
    ASM have 2 050.
    """
    modules = count(Aggregation(25, FOUR))
    assert modules == 2_050
    trunk, decoder = mix_transformer(depths, widths), count(AllMLPHead(widths, 25))
    assert [round(n / 1e6, 3) for n in (trunk, decoder, trunk + decoder + modules)] == [
        encoder,
        head,
        total,
    ]


def test_resnet_has_the_same_modules():
    model = network(backbone="resnet50")
    assert model.encoder.channels == WIDTHS
    assert count(model.head) + count(model.mam) == 527_514
