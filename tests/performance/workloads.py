"""A training step and the evaluation of all subsets, on noise and with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmark.evaluation.inference import decode_subset
from benchmark.evaluation.subset_confusion import SubsetConfusion
from benchmark.metrics.subsets import modality_subsets
from methods.base import AnyModalitySegmenter
from methods.mobanet.module import MoBaNet
from methods.parts.optim import build_optimizer
from methods.sgma.module import SGMA
from tests.performance.variants import Variant

CHANNELS, CLASSES = {"rgb": 3, "dsm": 1, "nir": 1}, 6


@dataclass(frozen=True)
class Case:
    """A method with an encoder, on windows of `side` px."""

    method: type[AnyModalitySegmenter]
    backbone: str
    side: int
    batch: int

    @property
    def name(self) -> str:
        """What a table calls it."""
        return f"{self.method.__name__}, {self.backbone}, {self.side} px, batch {self.batch}"

    def build(
        self, variant: Variant, device: torch.device
    ) -> tuple[AnyModalitySegmenter, dict[str, Any]]:
        """Build the model and a batch of noise, alike in all variants."""
        torch.manual_seed(0)
        model = self.method(dict(CHANNELS), CLASSES, backbone=self.backbone, pretrained=False)
        images, shape = {}, (self.side, self.side)
        for name, channels in CHANNELS.items():
            image = torch.randn(self.batch, channels, *shape)
            images[name] = image.to(device, memory_format=variant.layout)
        mask = torch.randint(0, CLASSES, (self.batch, *shape)).to(device)
        variant.prepare(model, device)
        return model, {"image": images, "mask": mask}


def cases(small: bool) -> list[Case]:
    """List what is measured, the most important first; `small` is what a CPU can do in minutes."""
    pvt, resnet, vit = "pvt_v2_b2", "resnet50", "vit_base_patch14_dinov2"
    high, low, side, batch = 518, 266, 512, 4
    if small:
        pvt, resnet, vit = "pvt_v2_b0", "resnet18", "vit_small_patch14_dinov2"
        high, low, side, batch = 126, 70, 128, 2
    return [
        Case(SGMA, pvt, side, batch),
        Case(MoBaNet, vit, high, batch),
        Case(SGMA, resnet, side, batch),
        Case(MoBaNet, vit, low, batch),
    ]


def training(case: Case, variant: Variant, device: torch.device) -> Callable[[], None]:
    """One step: forward, losses, backward, AdamW."""
    model, batch = case.build(variant, device)
    model.train()
    optimizer, _ = build_optimizer(model.parameters(), model.recipe, 1000, 100.0)

    def step() -> None:
        torch.manual_seed(1)
        optimizer.zero_grad(set_to_none=True)
        with variant.products_of(device):
            loss = model.weighted_sum(model.training_losses(batch))
        loss.backward()
        optimizer.step()

    return step


def evaluation(case: Case, variant: Variant, device: torch.device) -> Callable[[], None]:
    """One batch: every image encoded once, every subset decoded, its largest logits counted."""
    model, batch = case.build(variant, device)
    model.eval()
    subsets = {"+".join(names): names for names in modality_subsets(list(CHANNELS))}
    confusion = SubsetConfusion(list(subsets), CLASSES, CLASSES).to(device)

    def evaluate() -> None:
        with torch.inference_mode(), variant.products_of(device):
            encoded, size = model.encode(batch["image"]), batch["mask"].shape[-2:]
            logits = ((n, decode_subset(model, encoded, s, size)) for n, s in subsets.items())
            confusion.update(logits, batch["mask"])

    return evaluate


PHASES = {"training": training, "evaluation": evaluation}
