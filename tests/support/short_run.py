"""A run of one step on the tiny store, for tests of what is done with a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.__main__ import main

STEP = ["--trainer.max_steps", "1", "--trainer.val_check_interval", "1"]
STEP += ["--trainer.enable_progress_bar", "false"]


def train_one_step(
    stores: Path,
    runs: Path,
    method: str,
    window: int = 32,
    batch: int = 2,
    words: Sequence[str] = (),
) -> Path:
    """Return the directory of the run."""
    places = ["--data", "tiny", "--store", str(stores), "--runs", str(runs)]
    size = ["--data.init_args.window", str(window), "--data.init_args.batch_size", str(batch)]
    assert main(["bench", "--method", method, *places, *STEP, *size, *words]) == 0
    return next(runs.rglob("config.json")).parent
