"""How long an experiment takes, from a few steps of it on this machine."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from benchmark.experiment.lightning_cli import build_cli
from benchmark.sweep.cell_states import INVALID, CellState
from benchmark.sweep.estimate import PROBES, Durations, in_words
from benchmark.sweep.plan import Cell
from datamodules.store.scene_store import write_text_whole

WARM_UP, STEPS = 3, 20


class StepClock(L.Callback):
    """Measures steps after a few that warm up, then ends training."""

    def __init__(self, steps: int) -> None:
        self.last = WARM_UP + steps
        self.started = self.seconds_per_step = 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *given: Any
    ) -> None:
        """Look at the clock."""
        if trainer.global_step == WARM_UP:
            self.started = time.monotonic()
        if trainer.global_step >= self.last:
            elapsed = time.monotonic() - self.started
            self.seconds_per_step = elapsed / (trainer.global_step - WARM_UP)
            trainer.should_stop = True


@dataclass(frozen=True)
class Probe:
    """What a few steps say of a whole training."""

    seconds_per_step: float
    steps: int  # of the whole training

    @property
    def seconds(self) -> float:
        """Seconds of training; validation and evaluation come on top."""
        return self.seconds_per_step * self.steps


def probe_cell(cell: Cell, steps: int = STEPS) -> Probe:
    """Train a few steps of an experiment; nothing of it is kept."""
    with tempfile.TemporaryDirectory() as folder:
        cli = build_cli(replace(cell.request, runs=Path(folder)))
        clock = StepClock(steps)
        trainer: Any = cli.trainer
        kept = [callback for callback in trainer.callbacks if not isinstance(callback, Checkpoint)]
        trainer.callbacks = [*kept, clock]
        trainer.limit_val_batches = 0
        trainer.fit(cli.model, cli.datamodule)
        return Probe(clock.seconds_per_step, int(trainer.estimated_stepping_batches))


def probe_missing(states: Sequence[CellState], folder: Path) -> None:
    """Probe one experiment of every row that no record tells the time of, and keep what it says."""
    durations = Durations.at_hand([entry.cell for entry in states], folder)
    seconds = dict(durations.probed)
    for entry in states:
        cell = entry.cell
        if entry.record or entry.state == INVALID or durations.of_cell(cell) is not None:
            continue
        if cell.group not in seconds:
            found = probe_cell(cell)
            seconds[cell.group] = found.seconds
            step, whole = f"{found.seconds_per_step:.3g} s a step", in_words(found.seconds)
            print(f"{cell.label}: {step}, {found.steps} steps, about {whole}", flush=True)
            write_text_whole(folder / PROBES, json.dumps(seconds, indent=1) + "\n")
