"""A run that was cut off ends as the undisturbed one, whatever is on the disk at that moment."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.__main__ import main
from benchmark.experiment.checkpoints import WholeFiles
from benchmark.records.record import read_record

# five batches an epoch, so that validations, ends of epochs and the end do not meet
WORDS = ["--data.window", "32", "--data.batch_size", "2", "--trainer.accelerator", "cpu"]
WORDS += ["--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "1"]
STEPS = ["--trainer.max_steps", "12", "--trainer.val_check_interval", "3"]
EPOCHS = ["--trainer.max_steps", "-1", "--trainer.max_epochs", "2"]
EPOCHS += ["--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "2"]
GAPS = [*STEPS, "--protocol", "incomplete_60"]


def bench(stores: Path, runs: Path, *words: str) -> int:
    places = ["--data", "tiny", "--store", str(stores), "--runs", str(runs)]
    return main(["bench", "--method", "control", *places, *WORDS, *words])


def only_run(runs: Path) -> Path:
    (found,) = runs.rglob("config.json")
    return found.parent


def end_of(runs: Path) -> tuple[dict[str, torch.Tensor], Any, int, dict[int, str]]:
    """Weights of last and best, counts, steps, and the loss of every step, of a finished run."""
    run = only_run(runs)
    weights = {}
    for file in ("last", "best"):
        content = torch.load(run / "checkpoints" / f"{file}.ckpt", weights_only=True)
        for name, value in content["state_dict"].items():
            weights[f"{file} {name}"] = value
    losses = {}
    for table in sorted(run.glob("logs/version_*/metrics.csv")):
        header, *lines = table.read_text().splitlines()
        columns = header.split(",")
        for line in lines:
            row = dict(zip(columns, line.split(","), strict=True))
            if row.get("train/loss"):
                losses[int(row["step"])] = row["train/loss"]
    record = read_record(run / "record")
    return weights, record.counts, record.manifest.steps, losses


@pytest.mark.parametrize(
    ("workers", "length", "chosen", "place"),
    [
        pytest.param("0", STEPS, slice(0, 3, 2), "tiny_stores", id="steps"),
        pytest.param("2", STEPS, slice(1, 6, 4), "tiny_stores", id="steps-workers"),
        pytest.param("2", EPOCHS, slice(2, 6, 3), "tiny_stores", id="epochs-workers"),
        pytest.param("0", GAPS, slice(1, 2), "many_stores", id="steps-gaps"),
    ],
)
def test_every_state_of_the_disk_leads_to_the_same_end(
    workers: str,
    length: list[str],
    chosen: slice,
    place: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A kill leaves what was saved last, and nothing else changes between two saves."""
    stores: Path = request.getfixturevalue(place)
    words = [*length, "--data.num_workers", workers]
    states: list[Path] = []
    save = WholeFiles.save_checkpoint

    def save_and_copy(self: WholeFiles, checkpoint: Any, path: str, **options: Any) -> None:
        save(self, checkpoint, path)
        states.append(tmp_path / f"state{len(states)}")
        # the lock is this process's, which a kill would have ended
        shutil.copytree(tmp_path / "whole", states[-1], ignore=shutil.ignore_patterns("*.lock"))

    with monkeypatch.context() as patch:
        patch.setattr(WholeFiles, "save_checkpoint", save_and_copy)
        assert bench(stores, tmp_path / "whole", *words) == 0
    weights, counts, steps, losses = end_of(tmp_path / "whole")
    for state in states[chosen]:
        earlier = only_run(state) / "checkpoints" / "last.ckpt"
        # the first save may be of the best weights
        spent = 1000.0 if earlier.exists() else 0.0
        if spent:
            content = torch.load(earlier, weights_only=True)
            content["callbacks"]["KeepLast"]["fit_s"] = spent
            torch.save(content, earlier)
        assert bench(stores, state, *words) == 0
        durations = read_record(only_run(state) / "record").manifest.durations
        assert spent < durations["fit_s"] < spent + 900, "over all attempts"
        mine = end_of(state)
        assert mine[2] == steps
        assert mine[3] == losses, "every step drew the same windows"
        assert all(torch.equal(value, mine[0][name]) for name, value in weights.items())
        assert np.array_equal(mine[1], counts)


def test_a_training_that_a_rule_ended_is_not_continued(tiny_stores: Path, tmp_path: Path) -> None:
    """Killed in its evaluation it is evaluated again, although the rule is not asked again."""
    stop = "--trainer.callbacks"
    words = [*STEPS, "--data.num_workers", "0", f"{stop}+=EarlyStopping"]
    words += [f"{stop}.monitor=val/average_miou", f"{stop}.mode=max"]
    words += [f"{stop}.stopping_threshold=0"]
    assert bench(tiny_stores, tmp_path, *words) == 0
    _, counts, steps, _ = end_of(tmp_path)
    assert steps == 3, "the first validation"
    shutil.rmtree(only_run(tmp_path) / "record")
    assert bench(tiny_stores, tmp_path, *words) == 0
    again = read_record(only_run(tmp_path) / "record")
    assert again.manifest.steps == 3 and np.array_equal(again.counts, counts)
