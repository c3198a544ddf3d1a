"""Several processes: one works on a cell, ranks share a run, files that two write stay whole."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import lightning as L
import pytest

from benchmark.experiment import processes
from benchmark.experiment.processes import EndTogether, allow_unused_parameters, claim
from benchmark.records.manifest import MANIFEST
from datamodules.base import SceneDataModule
from tests.benchmark.experiment.test_bench import bench
from usererror import UserError

FIRST = cast(L.Trainer, SimpleNamespace(is_global_zero=True))
OTHER = cast(L.Trainer, SimpleNamespace(is_global_zero=False))


def test_one_command_at_a_time_holds_a_run(tmp_path: Path) -> None:
    run = tmp_path / "method" / "run"
    with claim(run, FIRST):
        with pytest.raises(UserError, match="at work on this cell"), claim(run, FIRST):
            raise AssertionError("held twice")
        with claim(run.with_name("another"), FIRST), claim(run, OTHER):
            pass
        # FORCE=1 renames the run while it is held
        run.mkdir()
        run.rename(run.with_name("old-run"))
        with pytest.raises(UserError), claim(run, FIRST):
            raise AssertionError("held twice")
    with claim(run, FIRST):
        pass


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn", "auto"])
def test_a_step_of_several_processes_may_leave_parameters_out(strategy: str) -> None:
    trainer = L.Trainer(accelerator="cpu", devices=2, strategy=strategy, logger=False)
    allow_unused_parameters(trainer)
    assert trainer.strategy._ddp_kwargs["find_unused_parameters"] is True  # type: ignore[attr-defined]


def test_a_process_that_ends_with_an_error_takes_those_with_it_that_it_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[int] = []

    class Launcher:
        def kill(self, number: int) -> None:
            killed.append(number)

    monkeypatch.setattr(processes, "_SubprocessScriptLauncher", Launcher)
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(launcher=Launcher()))
    EndTogether().on_exception(trainer, L.LightningModule(), ValueError())
    assert len(killed) == 1


def test_force_in_another_rank_keeps_what_the_first_has_begun(
    tiny_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(L.Trainer, "is_global_zero", False)
    begun: list[Path] = []

    def train(cli: Any) -> None:
        begun.append(cli.run_dir)

    monkeypatch.setattr("benchmark.experiment.train.train_and_score", train)
    words = ["--trainer.max_steps", "2"]
    assert bench(tiny_stores, tmp_path / "runs", *words, method="control") == 0
    [run] = begun
    (run / "record").mkdir(parents=True)
    (run / "record" / MANIFEST).write_text("{}")
    # rank 0 may not yet have set the old record aside
    assert bench(tiny_stores, tmp_path / "runs", *words, "--force", method="control") == 0
    assert begun == [run, run] and (run / "record" / MANIFEST).exists()


@pytest.mark.parametrize(("cores", "workers"), [(1, 0), (2, 1), (64, 4)])
def test_reading_processes_ask_for_the_cores_of_the_job(
    cores: int, workers: int, tiny_stores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert SceneDataModule("tiny", str(tiny_stores)).num_workers == workers
