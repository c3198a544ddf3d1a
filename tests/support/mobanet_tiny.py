"""Tiny MoBaNets for the tests."""

from __future__ import annotations

import torch

from methods.mobanet.module import MoBaNet
from tests.support.method_checks import (
    CHANNELS,
    CLASSES,
)

TINY = {"backbone": "vit_tiny_patch8", "pretrained": False}
TWO = dict(list(CHANNELS.items())[:2])
BASE = {"cpia": "none", "dgfm": False, "mcrm": False}
VARIANTS = {
    "mobanet": {},
    "mobanet_base": BASE,
    "mobanet_cpia": {"dgfm": False, "mcrm": False},
    "mobanet_cpia_dgfm": {"mcrm": False},
    "mobanet_no_mcrm": {"mcrm": False},
}
# the gate's last convolution starts at zero, hence what comes before it has no gradient in the
# first step (dossier 2.5)
GATE = (
    "gate_in.weight",
    "gate_norm.weight",
    "gate_norm.bias",
    *(f"reductions.{i}.weight" for i in range(4)),
)


def make(modalities: dict[str, int] = TWO, seed: int = 0, **options) -> MoBaNet:
    torch.manual_seed(seed)
    return MoBaNet(modalities, CLASSES, **{**TINY, **options})


def stirred(module: MoBaNet) -> MoBaNet:
    """Move every trainable tensor and statistic away from its initial value, zeros included."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.05 * torch.randn(p.shape, generator=generator)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer += 0.1 * torch.randn(buffer.shape, generator=generator)
            if name.endswith("running_var"):
                buffer *= 0.5 + torch.rand(buffer.shape, generator=generator)
    return module
