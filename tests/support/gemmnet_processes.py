"""Started by test_gemmnet_training.py: trains tiny networks in two processes and saves each rank's
weights.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, Dataset

from tests.methods.gemmnet.test_gemmnet_training import fresh
from tests.methods.test_base import Scenes

STEPS = 4


class Shard(Dataset):
    """Four batches of one scene; the second of rank 1 really lacks a modality, so it has nothing to
    compare with.
    """

    def __init__(self, rank: int) -> None:
        self.rank, self.scenes = rank, Scenes()

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> dict[str, Any]:
        scene = self.scenes[2 * index + self.rank]
        if (self.rank, index) == (1, 1):
            scene["image"].pop("dsm")
        return scene


class Shards(L.LightningDataModule):
    """Each rank its own scenes."""

    def train_dataloader(self) -> DataLoader:
        rank = self.trainer.global_rank if self.trainer is not None else 0
        return DataLoader(Shard(rank), batch_size=1)


def main(out: Path) -> None:
    for name, options in (("cgan", {}), ("ae", {"rec": "l2"})):
        module, data = fresh(**options), Shards()
        trainer = L.Trainer(
            default_root_dir=out,
            accelerator="cpu",
            devices=2,
            strategy=DDPStrategy(process_group_backend="gloo", find_unused_parameters=True),
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            max_epochs=1,
        )
        trainer.fit(module, data)
        rank = trainer.global_rank
        parameters = {n: p.detach().clone() for n, p in module.named_parameters()}
        seen = float(data.train_dataloader().dataset[0]["image"]["rgb"].sum())
        torch.save(
            {"parameters": parameters, "step": trainer.global_step, "seen": seen},
            out / f"{name}{rank}.pt",
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
