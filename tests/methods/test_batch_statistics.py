"""Whose samples a batch norm sees in training: those of all modalities together, or of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.cmnext.module import CMNeXt
from methods.control.module import Control
from methods.gemmnet.module import GEMMNet
from methods.imlt.module import IMLT
from methods.m3l.module import M3L
from methods.magic.module import MAGIC
from methods.mmformer.module import MMFormer
from methods.mobanet.module import MoBaNet
from methods.muss.module import MuSS
from methods.sgma.module import SGMA
from methods.shaspec.module import ShaSpec
from methods.stitchfusion.module import StitchFusion
from methods.two_stream.module import FTransUNet, MANet
from tests.support.mobanet_tiny import TINY

# the smallest of timm's: both kinds of residual blocks, one convolution more before the first norm
SMALL = {"backbone": "test_resnet", "pretrained": False, "head_width": 8}
# widths that need neither averaging nor padding
ALIKE = {"a": 3, "b": 3, "c": 3}
BATCH, CLASSES, MOMENTUM = 2, 4, 0.1
ON_ONE_ENCODER = {
    "control": (Control, {}),
    "sgma": (SGMA, {}),
    "imlt": (IMLT, {}),
    "m3l": (M3L, {}),
    "m3l_block": (M3L, {"fusion": "block"}),
    "magic": (MAGIC, {}),
    "magic_features": (MAGIC, {"level": "features"}),
    "muss": (MuSS, {"experts": True}),
    "stitchfusion": (StitchFusion, {}),
    "stitchfusion_no_adapters": (StitchFusion, {"adapters": "none"}),
}


def build(method: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    return method(modalities=ALIKE, num_classes=CLASSES, **options).train()


def different_images() -> dict[str, Tensor]:
    """Modalities with other means and deviations: one by one they move statistics elsewhere."""
    generator = torch.Generator().manual_seed(1)
    images = {}
    for place, m in enumerate(ALIKE):
        noise = torch.randn(BATCH, 3, 64, 64, generator=generator)
        images[m] = place + (1 + 2 * place) * noise
    return images


@contextmanager
def inputs_of_norms(module: nn.Module) -> Iterator[dict[nn.BatchNorm2d, list[np.ndarray]]]:
    """What goes into every batch norm, call by call, as float64 (B, C, h, w)."""
    seen: dict[nn.BatchNorm2d, list[np.ndarray]] = {}
    hooks = []

    def note(norm: nn.BatchNorm2d, given: tuple[Tensor]) -> None:
        seen.setdefault(norm, []).append(given[0].detach().numpy().astype(np.float64))

    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            hooks.append(part.register_forward_pre_hook(note))
    yield seen
    for hook in hooks:
        hook.remove()


def after_one_step(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Running mean and variance, 0 and 1 before, of a channel's values (B, C, h, w)."""
    mean = MOMENTUM * rows.mean((0, 2, 3))
    variance = 1 - MOMENTUM + MOMENTUM * rows.var((0, 2, 3), ddof=1)
    return torch.from_numpy(mean), torch.from_numpy(variance)


def check_statistics(norm: nn.BatchNorm2d, rows: np.ndarray) -> None:
    found = (norm.running_mean.double(), norm.running_var.double())
    torch.testing.assert_close(found, after_one_step(rows), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ON_ONE_ENCODER)
def test_a_shared_encoder_has_the_statistics_of_all_modalities(name: str) -> None:
    method, options = ON_ONE_ENCODER[name]
    module, images = build(method, **SMALL, **options), different_images()
    network, pyramid = module.network, module.network.encoder.pyramid
    with torch.no_grad(), inputs_of_norms(pyramid) as seen:
        network.fuse(network.encode(images))
        # the first convolution of each modality by itself
        first, norm = pyramid["conv1"][:2]
        alone = [F.conv2d(image, first.weight, None, 2, 1).numpy() for image in images.values()]
    check_statistics(norm, np.concatenate(alone).astype(np.float64))
    assert len(seen) > 10
    for norm, calls in seen.items():
        assert norm.num_batches_tracked == len(calls) == 1
        assert len(calls[0]) == len(ALIKE) * BATCH
        check_statistics(norm, calls[0])


def test_separate_calls_would_have_other_statistics() -> None:
    """Else the test above could not fail."""
    module, images = build(Control, **SMALL), different_images()
    with torch.no_grad():
        for m, image in images.items():
            module.network.encode({m: image})
    first, norm = module.network.encoder.pyramid["conv1"][:2]
    packed = first(torch.cat(list(images.values())))
    with pytest.raises(AssertionError, match="not close"):
        check_statistics(norm, packed.detach().numpy().astype(np.float64))


@pytest.mark.parametrize("name", ["magic", "m3l", "m3l_block"])
def test_a_head_that_takes_every_modality_has_joint_statistics_too(name: str) -> None:
    method, options = ON_ONE_ENCODER[name]
    network = build(method, **SMALL, **options).network
    with torch.no_grad(), inputs_of_norms(network.head) as seen:
        network.fuse(network.encode(different_images()))
    ((norm, calls),) = seen.items()
    assert [len(rows) for rows in calls] == [len(ALIKE) * BATCH]
    check_statistics(norm, calls[0])


def test_experts_have_statistics_of_their_own_modality() -> None:
    network = build(MuSS, **SMALL, experts=True).network
    given = different_images()
    with torch.no_grad(), inputs_of_norms(network.fusion) as seen:
        network.fuse(network.encode(given))
    for fusion in network.fusion:
        for expert in fusion.experts.values():
            norms = [part for part in expert.modules() if isinstance(part, nn.BatchNorm2d)]
            assert norms
            for norm in norms:
                assert [len(rows) for rows in seen[norm]] == [BATCH]


@pytest.mark.parametrize(
    ("method", "options", "with_norms"),
    [
        (MMFormer, {"width": 16, "mlp": 16, "heads": 2}, set()),
        (ShaSpec, {"backbone": "resnet50_w4"}, set()),
        (ShaSpec, {"backbone": "pyramid"}, set()),
        (GEMMNet, {}, {"generators", "discriminators"}),
        (MoBaNet, TINY, {"head", "heads"}),
        (MANet, {**TINY, "backbone": "samvit_micro_patch16"}, {"pyramids", "decoder"}),
        (FTransUNet, {"backbone": "vit_micro_r50_w8", "pretrained": False}, {"decoder"}),
        (SGMA, {**SMALL, "backbone": "pvt_v2_b0"}, {"head"}),
        (CMNeXt, {**SMALL, "backbone": "pvt_v2_b0"}, {"head", "auxiliary", "fusion"}),
    ],
)
def test_encoders_without_batch_norm(method: Any, options: Any, with_norms: set[str]) -> None:
    network, found = build(method, **options).network, set()
    for name, part in network.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            found.add(name.partition(".")[0])
    assert found == with_norms
