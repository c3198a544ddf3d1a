"""Evaluates a pixelwise method in one or several processes and saves the counts, or trains one on
scenes with gaps; see test_evaluation.py.
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
from benchmark.evaluation.damaged import DamageEvaluation
from benchmark.evaluation.reliability import STATES, ReliabilityEvaluation
from benchmark.evaluation.scenario_files import read_scenarios
from benchmark.metrics.result import EvaluationResult
from datamodules.base import SceneDataModule
from methods.base import AnyModalitySegmenter
from methods.control.module import Control


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


def save_result(
    result: EvaluationResult, metrics: Mapping[str, Tensor], out: str, **more: Any
) -> None:
    """Write the counts in the process that has them: a forked one cannot hand them back."""
    np.savez(out, **dict(zip(result.scenes, result.counts, strict=True)))
    values = {name: float(value) for name, value in metrics.items()}
    with open(out + ".json", "w") as file:
        json.dump({"subsets": result.subsets, "metrics": values, **more}, file)


class Saving(L.Callback):
    """Saves what an evaluation, which comes before it, has found."""

    def __init__(self, evaluation: MissingModalityEvaluation, out: str) -> None:
        self.evaluation, self.out = evaluation, out

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero and self.evaluation.result is not None:
            sums = getattr(self.evaluation, "reliability", None)
            more = {name: getattr(sums, name).tolist() for name in STATES if sums}
            metrics = trainer.callback_metrics
            save_result(self.evaluation.result, metrics, self.out, reliability=more)


def make_trainer(devices: int, callbacks: list[L.Callback], **options: Any) -> L.Trainer:
    """A trainer of so many processes, which are forked; it writes nothing by itself."""
    fork = DDPStrategy(
        process_group_backend="gloo", start_method="fork", find_unused_parameters=True
    )
    return L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=fork if devices > 1 else "auto",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        **options,
    )


def evaluate(
    stores: str,
    devices: int,
    overlap: bool,
    out: str,
    scenario: str = "",
    workers: int = 0,
    batch_size: int = 3,
) -> None:
    """Test a pixelwise method, under a scenario if one is named; several devices are forked."""
    stride = 16 if overlap else 32
    how = {"window": 32, "stride": stride, "batch_size": batch_size, "num_workers": workers}
    data = SceneDataModule("tiny", stores, **how)  # type: ignore[arg-type]
    evaluation: MissingModalityEvaluation = ReliabilityEvaluation(block=40)
    if scenario:
        [data.scenario] = read_scenarios([scenario])
        evaluation = DamageEvaluation(data.scenario, block=40)
    trainer = make_trainer(devices, [evaluation, Saving(evaluation, out)])
    trainer.test(Pixelwise(data.channels, data.num_classes), data, verbose=False)


class Seen(L.Callback):
    """Writes what a rank was shown, by scene, and the weights that it ends with."""

    def __init__(self, out: str) -> None:
        self.out = out
        self.sensors: dict[str, list[str]] = {}

    def on_train_batch_start(self, trainer: Any, model: Any, batch: Any, number: int) -> None:
        for scene in batch["scene"]:
            self.sensors[scene] = sorted(batch["image"])

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # batch statistics are each rank's own
        weights = {name: weight.detach() for name, weight in pl_module.named_parameters()}
        kept = {"sensors": self.sensors, "weights": weights}
        torch.save(kept, f"{self.out}{trainer.global_rank}.pt")


def train(stores: str, out: str) -> None:
    """Train a small network on two ranks, some of whose scenes lack sensors."""
    data = SceneDataModule("tiny", stores, window=32, batch_size=2, num_workers=0, gap_rates=0.6)
    torch.manual_seed(0)
    options: dict[str, Any] = {"backbone": "pvt_v2_b0", "pretrained": False, "head_width": 16}
    trainer = make_trainer(2, [Seen(out)], limit_val_batches=0, max_epochs=1)
    trainer.fit(Control(data.channels, data.num_classes, **options), data)


if __name__ == "__main__":
    if sys.argv[3] == "train":
        train(sys.argv[1], sys.argv[2])
    else:
        evaluate(sys.argv[1], int(sys.argv[3]), True, sys.argv[2], *sys.argv[4:])
