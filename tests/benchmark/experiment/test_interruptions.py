"""Signals, damaged checkpoints, full disks, a cluster's leftovers: one line, then the same end."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.__main__ import main
from benchmark.experiment.checkpoints import LAST, PREVIOUS, Attempt, WholeFiles, read_checkpoint
from benchmark.records.record import read_record
from methods.control.module import Control
from usererror import UserError

WORDS = ["--data.window", "32", "--data.batch_size", "2", "--data.num_workers", "0"]
WORDS += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
WORDS += ["--trainer.max_steps", "7", "--trainer.val_check_interval", "100"]


def bench(stores: Path, runs: Path) -> int:
    places = ["--data", "tiny", "--store", str(stores), "--runs", str(runs)]
    return main(["bench", "--method", "control", *places, *WORDS])


def only_run(runs: Path) -> Path:
    (found,) = runs.rglob("config.json")
    return found.parent


def counts(runs: Path) -> Any:
    return read_record(only_run(runs) / "record").counts


@pytest.fixture(scope="module")
def whole(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUNS with one undisturbed cell."""
    runs = tmp_path_factory.mktemp("whole") / "runs"
    assert bench(tiny_stores, runs) == 0
    return runs


def test_signals_end_with_their_status_and_the_run_continues(
    whole: Path,
    tiny_stores: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # a shell starts what it puts into the background deaf to SIGINT
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    step = Control.training_step
    for number, at, saved in ((signal.SIGTERM, 2, 3), (signal.SIGINT, 4, 4)):

        def ask(self: Control, *batch: Any, number: int = number, at: int = at) -> Any:
            if self.global_step == at:
                os.kill(os.getpid(), number)
            return step(self, *batch)

        with monkeypatch.context() as patch:
            patch.setattr(Control, "training_step", ask)
            if number == signal.SIGINT:
                # within the first epoch, time alone saves
                patch.setattr("benchmark.experiment.checkpoints.SAVE_EVERY_S", 0.0)
            assert bench(tiny_stores, tmp_path) == 128 + number
        error = capsys.readouterr().err
        assert "the same command continues where it stopped.\n" in error and "Error" not in error
        folder = only_run(tmp_path) / "checkpoints"
        # after SIGTERM the step that was begun is finished and saved
        assert torch.load(folder / LAST, weights_only=True)["global_step"] == saved
        assert not (folder.parent / "record").exists()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    signal.signal(signal.SIGINT, found)
    # what a lost cache of a disk leaves
    (folder / LAST).write_bytes((folder / LAST).read_bytes()[:5000])
    assert bench(tiny_stores, tmp_path) == 0
    printed = capsys.readouterr().out
    assert f"Continuing from {folder / PREVIOUS}, step 3." in printed
    assert np.array_equal(counts(tmp_path), counts(whole))
    assert read_record(only_run(tmp_path) / "record").manifest.steps == 7


def test_weights_of_a_requeued_job_are_not_scored(
    whole: Path,
    tiny_stores: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Lightning takes up `hpc_ckpt_*` of its root directory in a job of Slurm's."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    run, drawn = only_run(tmp_path), []
    shutil.rmtree(run / "record")
    content = torch.load(run / "checkpoints" / LAST, weights_only=True)
    for value in content["state_dict"].values():
        value.zero_()
    for folder in (run, tmp_path / "again"):
        folder.mkdir(exist_ok=True)
        torch.save(content, folder / "hpc_ckpt_1.ckpt")
    names = {"NTASKS": "1", "JOB_NAME": "train", "JOB_ID": "77", "PROCID": "0", "LOCALID": "0"}
    for name, value in {**names, "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    user = signal.getsignal(signal.SIGUSR1)
    assert bench(tiny_stores, tmp_path) == 0
    assert np.array_equal(counts(tmp_path), counts(whole))
    words = ["evaluate", "--checkpoint", str(run / "checkpoints" / LAST)]
    words += ["--store", str(tiny_stores), "--out", str(tmp_path / "again")]
    assert main(words) == 0
    assert np.array_equal(read_record(tmp_path / "again" / "record").counts, counts(whole))
    assert signal.getsignal(signal.SIGUSR1) == user
    # killed after its record, a run has no pictures: they are drawn when it is next asked for
    name = "benchmark.tracking.example_images.store_examples"
    monkeypatch.setattr(name, lambda model, data, folder, scenes: drawn.append(folder))
    assert bench(tiny_stores, tmp_path) == 0
    assert drawn == [run]


@pytest.mark.parametrize("kind", ["cut", "empty", "noisy", "other", "folder"])
def test_a_damaged_checkpoint_is_one_line(kind: str, tmp_path: Path) -> None:
    file = tmp_path / LAST
    torch.save({"state_dict": {"weight": torch.ones(1000)}}, file)
    content = bytearray(file.read_bytes())
    assert read_checkpoint(file)["state_dict"]["weight"].sum() == 1000
    where = content.index(torch.ones(20).numpy().tobytes())
    content[where + 40] ^= 1
    kinds: dict[str, bytes] = {"empty": b"", "other": b"text"}
    kinds |= {"cut": bytes(content[:3000]), "noisy": bytes(content)}
    file.unlink()
    if kind == "folder":
        file.mkdir()
    else:
        file.write_bytes(kinds[kind])
    with pytest.raises(UserError, match="cannot be read as a checkpoint") as error:
        read_checkpoint(file)
    assert "\n" not in str(error.value)


def test_the_one_before_stays_until_the_next_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(step: int) -> None:
        WholeFiles().save_checkpoint({"state_dict": {}, "step": step}, str(tmp_path / LAST))

    def steps() -> dict[str, int]:
        return {path.name: read_checkpoint(path)["step"] for path in tmp_path.iterdir()}

    save(1)
    save(2)
    assert steps() == {LAST: 2, PREVIOUS: 1}

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            save(3)
    assert steps() == {LAST: 2, PREVIOUS: 1}, "and no half file takes room"


def test_what_a_killed_process_was_writing_goes(tmp_path: Path) -> None:
    (tmp_path / f"{LAST}.elsewhere.7.part").touch()
    assert Attempt.find(tmp_path) is None and not list(tmp_path.iterdir())


def test_a_run_that_cannot_be_written_is_one_line(
    whole: Path, tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where a folder is needed, since the superuser may write everywhere else."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    run = only_run(tmp_path)
    (run / "evaluations").touch()
    evaluate = ["evaluate", "--checkpoint", str(run / "checkpoints" / LAST)]
    store = ["--store", str(tiny_stores)]
    for words in (
        [*evaluate, *store],
        [*evaluate, *store, "--out", str(run / "config.json" / "out")],
        ["picture", "--run", str(run), "--out", str(run / "config.json" / "a.png")],
        ["bench", "--data", "tiny", *store, "--runs", str(run / "config.json")],
        ["show", "tiny", *store, "--out", str(run / "config.json" / "a.png")],
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "cannot be written" in error
        assert "name another place with --" in error
