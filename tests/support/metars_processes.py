"""Started by test_metars_ranks.py: trains MetaRS in one or two processes, then scores it in both
ways.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch

from benchmark.evaluation.callback import MissingModalityEvaluation
from datamodules.base import SceneDataModule
from methods.metars.module import MetaRS
from tests.benchmark.evaluation.evaluate_processes import Saving, make_trainer

STEPS, WINDOWS = 3, 8
NETWORK: dict[str, Any] = {"backbone": "pvt_v2_b0", "pretrained": False, "head_width": 16}
# what a rank draws by itself, a process that accumulates draws otherwise
NETWORK |= {"head_dropout": 0.0, "loss_weights": {"fuse_subset": 0.0}}
NETWORK |= {"start": 1 / STEPS, "windows": WINDOWS, "optimizer": {"lr": 1e-3}}


class Watched(MetaRS):
    """Keeps the masks as they are found: later DDP would send those of the first rank to all."""

    found: dict[str, torch.Tensor]

    def fit_masks(self) -> None:
        super().fit_masks()
        self.found = {name: mask.clone() for name, mask in self.whitening.named_buffers()}


class Saved(L.Callback):
    """Writes the masks and the state with which a rank ends."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        parameters = [name for name, _ in pl_module.named_parameters()]
        kept = {"masks": pl_module.found, "state": pl_module.state_dict(), "parameters": parameters}
        torch.save(kept, f"{self.out}-rank{trainer.global_rank}.pt")


def main(stores: str, out: Path) -> None:
    for devices in (2, 1):
        data = SceneDataModule(
            "tiny", stores, window=32, batch_size=2, num_workers=0, epoch_windows=16, gap_rates=0.6
        )
        torch.manual_seed(0)
        module = Watched(data.channels, data.num_classes, **NETWORK)
        # a step is of two batches, one after the other or beside each other
        steps = {"max_steps": STEPS, "accumulate_grad_batches": 2 // devices}
        saved = Saved(out / f"trained-by-{devices}")
        trainer = make_trainer(devices, [saved], limit_val_batches=0, **steps)
        trainer.fit(module, data)
    trained = torch.load(out / "trained-by-2-rank0.pt", weights_only=True)
    for devices in (2, 1):
        module.load_state_dict(trained["state"])
        evaluation = MissingModalityEvaluation(block=40)
        saving = Saving(evaluation, str(out / f"scored-by-{devices}"))
        trainer = make_trainer(devices, [evaluation, saving])
        trainer.test(module, data, verbose=False)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
