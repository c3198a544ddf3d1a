"""GEMMNet of two modalities is the paper's formulation (dossier, section 12)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.gemmnet.network import GEMMNetwork
from methods.parts.conv_unet import normalise_maps
from methods.parts.losses import (
    class_probabilities,
)
from tests.methods.gemmnet.test_gemmnet import PLAIN, make, settled
from tests.support.method_checks import (
    CLASSES,
    TWO,
    images,
)


def literal(network: GEMMNetwork, shown: str, rgb: Tensor, dsm: Tensor) -> Tensor:
    """Two modalities as the paper has them, written out: eq. 1 to 5 with the network's layers
    (check 13).
    """
    rgb, dsm = (x.div(3).clamp(-1, 1) for x in (rgb, dsm))
    if shown == "rgb":
        dsm = network.generators["dsm"](rgb)
    if shown == "dsm":
        rgb = network.generators["rgb"](dsm)
    a, b = network.encoders["rgb"](rgb), network.encoders["dsm"](dsm)
    if network.inter is None:
        last = torch.cat([a[4], b[4]], 1)
    else:
        height, width = a[4].shape[-2:]
        tokens, positions = [], []
        for m, maps in (("rgb", a), ("dsm", b)):
            row = (
                network.tokenisers[m](maps[4])
                .reshape(len(rgb), -1, height * width)
                .permute(0, 2, 1)
            )
            tokens.append(network.blocks[m](row, network.tables[m]))
            positions.append(network.tables[m])
        mixed = network.inter(torch.cat(tokens, 1), torch.cat(positions, 1))
        ta, tb = mixed[:, : height * width], mixed[:, height * width :]
        maps = [t.permute(0, 2, 1).reshape(len(rgb), -1, height, width) for t in (ta, tb)]
        last = network.reduction(torch.cat(maps, 1))
    state = network.decoder.fusion[4](last)
    for i, step in zip((3, 2, 1, 0), network.decoder.steps, strict=True):
        unified = network.decoder.fusion[i](torch.cat([a[i], b[i]], 1))
        lifted = step.lift(
            F.interpolate(state, scale_factor=2, mode="bilinear", align_corners=True)
        )
        state = step.mix(step.merge(torch.cat([unified, lifted], 1)))
    return network.decoder.head(state)


@pytest.mark.parametrize("options", [{}, PLAIN], ids=["gemmnet", "plain"])
def test_two_modalities_are_the_papers_formulation(options):
    """Check 13; tables filled, on their own grid."""
    module = settled(**options)
    for table in module.network.tables.values():
        nn.init.normal_(table)
    given = images(TWO, 2, (64, 64))
    with torch.inference_mode():
        for shown in ("rgb", "dsm", "both"):
            found = module({m: x for m, x in given.items() if shown in (m, "both")})
            torch.testing.assert_close(
                found, literal(module.network, shown, *given.values()), rtol=1e-4, atol=1e-5
            )


# ---- the dossier's blocks
# ------------------------------------------------------------------------------------------


def test_layer_norm_is_one_group_and_not_instance_norm():
    """Check 3."""
    given = torch.randn(3, 8, 10, 12) * torch.arange(1, 9)[:, None, None]
    torch.testing.assert_close(
        normalise_maps(given, "layer"), nn.GroupNorm(1, 8, affine=False)(given), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(
        normalise_maps(given, "instance"), nn.InstanceNorm2d(8)(given), rtol=0, atol=1e-6
    )
    assert (normalise_maps(given, "layer") - normalise_maps(given, "instance")).abs().max() > 0.1


def test_layouts_place_the_tokens():
    """Check 4 for the released layout; the default puts token n of modality m at cell n."""
    tokens = torch.arange(2048.0)[None, :, None]
    cells = make(as_released=True).network.layout(tokens, 2, (32, 32))
    assert cells.shape == (1, 2, 32, 32)
    assert cells[0, :, 0, 0].tolist() == [0, 1]
    assert cells[0, :, 15, 31].tolist() == [1022, 1023]
    assert cells[0, :, 16, 0].tolist() == [1024, 1025]
    aligned = make().network.layout(tokens, 2, (32, 32))
    assert torch.equal(aligned.flatten(), torch.arange(2048.0))


@pytest.mark.parametrize("options", [{}, {"as_released": True}], ids=["default", "released"])
def test_shapes_and_probabilities_of_all_heads(options):
    """Check 2, at 64 px; the widths and shapes at 512 px are in the counts."""
    network = settled(**options).network
    with torch.no_grad():
        entries = network.encode(images(TWO, 2, (64, 64)))
        logits, coarse, unimodal = network.segment_complete(entries, with_auxiliary=True)
    sides = [4, 8, 16, 32] if options else [64, 32, 16, 8]
    assert [tuple(x.shape) for x in coarse] == [(2, CLASSES, s, s) for s in sides]
    assert (
        logits.shape == (2, CLASSES, 64, 64) and [x.shape for x in unimodal] == [logits.shape] * 2
    )
    for scores in (logits, *coarse, *unimodal):
        maps = class_probabilities(scores, (64, 64), (64, 60))
        assert maps.shape == (2, CLASSES, 64, 60)
        torch.testing.assert_close(maps.sum(1), torch.ones(2, 64, 60))
    assert network.segment_complete(entries)[1:] == ([], [])
