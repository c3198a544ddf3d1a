"""The smoke signature of SGMA's ledger: python -m tests.support.smoke_sgma additive|sgf|sgma
[seed].

A synthetic task of 64 px with four classes and three sensors of falling signal-to-noise, of which D
separates only two
pairs of classes. Takes some minutes per row, so it is run by hand; the pattern additive < sgf <
sgma in the Average at
equal full-set scores is what counts, the class colours are the seed's own.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.metrics.confusion import Convention
from benchmark.metrics.subsets import modality_subsets
from methods.base import AnyModalitySegmenter
from methods.parts.optim import parameter_groups, warmup_poly
from methods.sgma.module import SGMA
from tests.support.toy_records import score

CLASSES, SIDE, STEPS = 4, 64, 300
SIGNAL = {"R": 1.0, "D": 1.0, "N": 0.5}
NOISE = {"R": 0.4, "D": 0.8, "N": 1.0}
VARIANTS = {"additive": {"fusion": "additive", "mas": False}, "sgf": {"mas": False}, "sgma": {}}


class Averages(nn.Module):
    """A small stand-in for the encoder: averages of the image, one convolution per scale."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels, self.reduction = channels, None
        self.layers = nn.ModuleList(nn.Conv2d(3, width, 1) for width in channels)

    def forward(self, given: dict[str, Tensor]) -> dict[str, list[Tensor]]:
        return {
            m: [
                functional.relu(layer(functional.avg_pool2d(image, 4 << i)))
                for i, layer in enumerate(self.layers)
            ]
            for m, image in given.items()
        }


class Task:
    """Label maps from upsampled noise, sensors as class vectors plus noise; all draws from one
    generator.
    """

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(1234 + seed)
        self.vectors = {name: torch.randn(CLASSES, 3, generator=self.generator) for name in SIGNAL}
        for twin in (0, 2):
            self.vectors["D"][twin + 1] = self.vectors["D"][twin]

    def batch(self, size: int) -> tuple[dict[str, Tensor], Tensor]:
        """{sensor: B x 3 x 64 x 64}, labels B x 64 x 64."""
        coarse = torch.randn(size, CLASSES, 6, 6, generator=self.generator)
        labels = functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").argmax(1)
        images = {}
        for name, vectors in self.vectors.items():
            noise = torch.randn(size, 3, SIDE, SIDE, generator=self.generator)
            images[name] = SIGNAL[name] * vectors[labels].permute(0, 3, 1, 2) + NOISE[name] * noise
        return images, labels


def train_and_score(model: AnyModalitySegmenter, task: Task) -> dict[str, float]:
    """Train 300 steps; mIoU in per cent of every subset on 32 held-out images."""
    optimizer = torch.optim.AdamW(parameter_groups(model.parameters(), 1e-2), lr=5e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_poly(step, STEPS, 20, 0.1, 0.9)
    )
    images, labels = task.batch(32)
    for _ in range(STEPS):
        x, y = task.batch(8)
        loss = model.weighted_sum(model.training_losses({"image": x, "mask": y}))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    convention = Convention(tuple(range(CLASSES)), tuple(range(CLASSES)))
    scores = {}
    with torch.inference_mode():
        encoded = model.encode(images)
        for subset in modality_subsets(list(SIGNAL)):
            guess = model.decode({name: encoded[name] for name in subset}, (SIDE, SIDE)).argmax(1)
            counts = torch.bincount((labels * CLASSES + guess).flatten(), minlength=CLASSES**2)
            scores["+".join(subset)] = (
                100 * score(counts.reshape(CLASSES, CLASSES).numpy(), convention).miou
            )
    return scores


def report(name: str, seed: int, scores: dict[str, float]) -> None:
    """Print the subsets' scores and their mean."""
    print(name, seed, {subset: round(value, 1) for subset, value in scores.items()})
    print(f"Average {sum(scores.values()) / len(scores):.1f}")


def run_row(method: type[AnyModalitySegmenter], variants: dict[str, dict[str, Any]]) -> None:
    """Train and report the row that the command line names, and its seed."""
    variant, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
    task = Task(seed)
    torch.manual_seed(seed)
    options = {"backbone": "pvt_v2_b0", "pretrained": False, "head_width": 64}
    model = method(dict.fromkeys(SIGNAL, 3), CLASSES, **options, **variants[variant])
    report(variant, seed, train_and_score(model, task))


if __name__ == "__main__":
    run_row(SGMA, VARIANTS)
