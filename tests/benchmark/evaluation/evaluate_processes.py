"""Evaluates a pixelwise method in one or several processes and saves the counts; see
test_evaluation.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from benchmark.evaluation.callback import MissingModalityEvaluation
from datamodules.base import SceneDataModule
from methods.base import AnyModalitySegmenter


class Pixelwise(AnyModalitySegmenter):
    """Logits of a pixel are a fixed linear function of that pixel alone, so stitching cannot change
    them.
    """

    def __init__(self, modalities: dict[str, int], num_classes: int, **options: Any) -> None:
        super().__init__(modalities, num_classes, **options)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Any]:
        return {name: image.mean(1, keepdim=True) * self.weight for name, image in images.items()}

    def decode(self, encoded: Mapping[str, Any], size: tuple[int, int]) -> Tensor:
        total = torch.stack([encoded[name] for name in sorted(encoded)]).sum(0)
        return torch.cat(
            [total * slope + bias for slope, bias in ((-1, 0.1), (1, 0), (0.2, 0.3))], 1
        )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        raise NotImplementedError


class SavedEvaluation(MissingModalityEvaluation):
    """Writes the counts in the process that has them: a forked one cannot hand them back."""

    def __init__(self, out: str) -> None:
        super().__init__(block=40)
        self.out = out

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero and self.result is not None:
            np.savez(self.out, **dict(zip(self.result.scenes, self.result.counts, strict=True)))
            metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
            with open(self.out + ".json", "w") as file:
                json.dump({"subsets": self.result.subsets, "metrics": metrics}, file)


def evaluate(stores: str, devices: int, overlap: bool, out: str) -> None:
    """Test a pixelwise method; several devices are forked processes."""
    stride = 16 if overlap else 32
    data = SceneDataModule("tiny", stores, window=32, stride=stride, batch_size=3, num_workers=0)
    fork = DDPStrategy(process_group_backend="gloo", start_method="fork")
    trainer = L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=fork if devices > 1 else "auto",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[SavedEvaluation(out)],
    )
    trainer.test(Pixelwise(data.channels, data.num_classes), data, verbose=False)


if __name__ == "__main__":
    evaluate(sys.argv[1], int(sys.argv[3]), True, sys.argv[2])
