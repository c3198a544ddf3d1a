"""The step in which MetaRS looks at training windows: killed across it, and beside the training."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.__main__ import main
from benchmark.experiment.checkpoints import LAST
from benchmark.records.record import read_record
from datamodules.store.scene_store import SceneStore
from methods.metars.module import MetaRS

WORDS = "--data.window 32 --data.stride 32 --data.batch_size 2 --data.epoch_windows 4"
WORDS += " --data.num_workers 0 --trainer.max_steps 8 --trainer.val_check_interval 100"
WORDS += " --trainer.accelerator cpu --trainer.enable_progress_bar false --no-leaderboard"
WORDS += " --model.windows 3 --model.head_width 8"
START = 4


def bench(stores: Path, runs: Path, start: float = START / 8) -> int:
    places = ["--data", "tiny", "--store", str(stores), "--runs", str(runs)]
    return main(["bench", "--method", "metars", *places, *WORDS.split(), f"--model.start={start}"])


def checkpoint(runs: Path) -> dict[str, Any]:
    (found,) = runs.rglob(LAST)
    content: dict[str, Any] = torch.load(found, weights_only=True)
    return content


def state_and_counts(runs: Path) -> tuple[dict[str, torch.Tensor], Any]:
    (record,) = runs.rglob("record")
    return checkpoint(runs)["state_dict"], read_record(record).counts


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What steps are given and torch's state in them; the windows that masks are made of."""
    noted: dict[str, list[Any]] = {"steps": [], "masks": []}
    step, load = MetaRS.training_step, MetaRS.training_windows

    def note_step(self: MetaRS, batch: Any, *more: Any) -> Any:
        windows = np.asarray(batch["window"]).tolist()
        noted["steps"].append((batch["scene"], windows, torch.get_rng_state().tolist()))
        return step(self, batch, *more)

    def note_windows(self: MetaRS) -> Iterator[Any]:
        for batch in load(self):
            noted["masks"].append((self.global_step, batch["scene"]))
            yield batch

    monkeypatch.setattr(MetaRS, "training_step", note_step)
    monkeypatch.setattr(MetaRS, "training_windows", note_windows)
    return noted


def test_masks_survive_kills_and_change_no_draw_of_the_training(
    tiny_stores: Path,
    tmp_path: Path,
    seen: dict[str, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, cut, without = (tmp_path / name for name in ("whole", "cut", "without"))
    assert bench(tiny_stores, whole) == 0
    steps, masks = seen["steps"].copy(), seen["masks"].copy()
    state, counts = state_and_counts(whole)
    # once, of at least three windows of training scenes
    assert len(steps) == 8 and [at for at, _ in masks] == [START] * 2
    store = SceneStore.open(tiny_stores / "tiny")
    training = {scene.id for scene in store.split("split_standard")["train"]}
    assert {scene for _, scenes in masks for scene in scenes} <= training
    found = [values for name, values in state.items() if name.startswith("whitening")]
    assert len(found) == 3 and all(mask.any() and not mask.all() for mask in found)

    # ended before it, so that it is the first of the next attempt, and behind it; and without it
    for runs, start, at in (
        (cut, START / 8, START - 1),
        (cut, START / 8, START + 1),
        (without, 1.0, START + 1),
    ):
        seen["steps"].clear()
        seen["masks"].clear()
        step = MetaRS.training_step

        def ask(self: MetaRS, *batch: Any, at: int = at, step: Any = step) -> Any:
            if self.global_step == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(self, *batch)

        with monkeypatch.context() as patch:
            patch.setattr(MetaRS, "training_step", ask)
            assert bench(tiny_stores, runs, start) == 128 + signal.SIGTERM
        assert checkpoint(runs)["global_step"] == at + 1
    # there the training was given the same and drew the same
    assert seen["steps"] == steps[: START + 2] and not seen["masks"]
    assert bench(tiny_stores, cut) == 0
    assert not seen["masks"]
    other, scored = state_and_counts(cut)
    assert state.keys() == other.keys()
    assert all(torch.equal(state[name], other[name]) for name in state)
    assert np.array_equal(counts, scored)
