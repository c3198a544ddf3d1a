"""Started by test_evaluation.py: evaluates a pixelwise method in one or several processes and saves the counts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from benchmark.evaluation.callback import MissingModalityEvaluation
from datamodules.base import SceneDataModule
from methods.base import AnyModalitySegmenter


class Pixelwise(AnyModalitySegmenter):
    """Logits of a pixel are a fixed linear function of that pixel alone, so stitching cannot change them."""

    def __init__(self, modalities: dict[str, int], num_classes: int) -> None:
        super().__init__(modalities, num_classes)
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


def main(stores: str, devices: int, overlap: bool, out: str) -> None:
    data = SceneDataModule(
        "tiny", stores, window=32, stride=16 if overlap else 32, batch_size=3, num_workers=0
    )
    model = Pixelwise(data.channels, data.num_classes)
    evaluation = MissingModalityEvaluation(block=40)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=L.pytorch.strategies.DDPStrategy(process_group_backend="gloo")
        if devices > 1
        else "auto",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[evaluation],
    )
    trainer.test(model, data, verbose=False)
    result = evaluation.result
    if trainer.is_global_zero and result is not None:
        np.savez(
            out,
            **{scene: counts for scene, counts in zip(result.scenes, result.counts, strict=True)},
        )
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        with open(out + ".json", "w") as file:
            json.dump({"subsets": result.subsets, "metrics": metrics}, file)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "overlap", sys.argv[4])
