"""Equal budgets of tuning: the same draws for all, chosen on validation, marked in tables."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmark.choices import CONFIGS
from benchmark.experiment.request import Request
from benchmark.leaderboard.score_rows import leaderboard_rows
from benchmark.leaderboard.table import leaderboard_frame
from benchmark.records.groups import seed_groups
from benchmark.records.selection import drop_trials
from benchmark.sweep import tuning
from benchmark.sweep.cell_states import CellState
from benchmark.sweep.plan import PLAN, Plan, plan_cells
from benchmark.sweep.run_sweep import plan_sweep
from benchmark.sweep.status import UNFINISHED, exit_status, status_lines
from benchmark.sweep.sweep_file import Tuning, parse_sweep, read_sweep
from benchmark.sweep.tuning import draw_trials, trial_cells, tuned_cells
from tests.support.toy_records import toy_record
from usererror import UserError

SPACE = {
    "model.optimizer.lr": {"low": 1e-5, "high": 1e-3, "log": True},
    "model.optimizer.weight_decay": [0.0, 0.01],
}
CONTENT = {
    "grid": {"method": ["control", "sgma"], "data": "tiny", "seed": [0, 1, 2]},
    "overrides": {"data.num_workers": 0},
    "tune": {"trials": 4, "space": SPACE, "seed": 5},
}


def done_by(selected: str) -> Any:
    """A record, of which only this is asked."""
    return SimpleNamespace(manifest=SimpleNamespace(protocol=SimpleNamespace(selected=selected)))


def test_draws_are_seeded_and_lie_in_their_space() -> None:
    one, other = (draw_trials(Tuning(trials=400, space=SPACE, seed=seed)) for seed in (0, 1))
    assert one == draw_trials(Tuning(trials=400, space=SPACE, seed=0)) != other
    rates = np.array([trial["model.optimizer.lr"] for trial in one])
    assert rates.min() >= 1e-5 and rates.max() <= 1e-3
    # alike by order of magnitude: half of them below the geometric mean
    assert abs(np.mean(rates < 1e-4) - 0.5) < 4 * math.sqrt(0.25 / 400)
    assert {trial["model.optimizer.weight_decay"] for trial in one} == {0.0, 0.01}


def test_every_method_gets_the_same_trials_and_the_best_validation_is_trained_over_seeds(
    tiny_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = parse_sweep(CONTENT, "a.yaml")
    assert sweep.tune
    places = Request("", "", runs=tmp_path, store=tiny_stores)
    trials = plan_cells(trial_cells(sweep, sweep.tune, places))
    by_method: dict[str, list[Any]] = {}
    for cell in trials:
        assert not cell.problem and cell.request.seed == 5
        by_method.setdefault(cell.request.method, []).append(cell.request.overrides)
    assert len(by_method) == 2 and by_method["control"] == by_method["sgma"]
    assert len(set(by_method["sgma"])) == 4
    # nothing is chosen before all trials of a method are done
    assert tuned_cells(sweep, sweep.tune, places, trials) == []
    done = {cell.run_dir for cell in trials if cell.request.method == "sgma"}
    monkeypatch.setattr(
        tuning, "record_of", lambda cell: done_by("best") if cell.run_dir in done else None
    )
    best = trials[-2]
    for cell in trials:
        logs = cell.run_dir / "logs" / "version_0"
        logs.mkdir(parents=True)
        value = 0.9 if cell == best else 0.5
        lines = ["step,train/loss,val/average_miou", "1,0.3,", f"2,,{value}", "3,,0.1"]
        (logs / "metrics.csv").write_text("\n".join(lines) + "\n")
    chosen = tuned_cells(sweep, sweep.tune, places, trials)
    assert [entry.request.seed for entry in chosen] == [0, 1, 2]
    for entry in chosen:
        assert entry.request.method == "sgma"
        assert entry.request.overrides == (*best.request.overrides[:-1], "--cell.tuned=4")
    # a search is another experiment than what its settings are without one
    plain = replace(chosen[0], request=replace(chosen[0].request, overrides=()))
    cells = plan_cells([*chosen, plain])
    assert len({cell.group for cell in cells}) == 2


def test_a_sweep_is_not_done_before_its_trials_have_chosen(
    tiny_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.yaml"
    content = {**CONTENT, "env": {"WANDB_PROJECT": "mine"}}
    file.write_text(json.dumps(content))
    places = Request("", "", runs=tmp_path / "runs", store=tiny_stores)
    first = plan_sweep(file, read_sweep(file), places)
    assert (len(first.plan.cells), first.plan.undecided) == (8, 6)
    done = [CellState(cell, "done") for cell in first.plan.cells]
    assert exit_status(done, first.plan) == UNFINISHED
    assert any("6 cells wait" in line for line in status_lines(first.plan, done, tmp_path))
    monkeypatch.setattr(tuning, "record_of", lambda cell: done_by("best"))
    monkeypatch.setattr(tuning, "validation_average", lambda run_dir, selected: 0.5)
    second = plan_sweep(file, read_sweep(file), places)
    assert second.plan.undecided == 0 and len(second.plan.cells) == 14
    # jobs of other queues go by number
    assert second.plan.cells[:8] == first.plan.cells
    read = Plan.read(second.folder / PLAN)
    assert read == second.plan and read.environment["WANDB_PROJECT"] == "mine"


def test_files_of_the_users_own_are_tuned_too_and_what_diverged_is_not_chosen(
    tiny_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(CONFIGS / "method" / "control.yaml", tmp_path / "own.yaml")
    content = {**CONTENT, "grid": {"method": "./own.yaml", "data": "tiny"}}
    sweep = parse_sweep(content, "a.yaml")
    assert sweep.tune
    places = Request("", "", runs=tmp_path, store=tiny_stores)
    trials = plan_cells(trial_cells(sweep, sweep.tune, places))
    monkeypatch.setattr(tuning, "record_of", lambda cell: done_by("best"))
    for cell, value in zip(trials, ("nan", "0.2", "0.3", "nan"), strict=True):
        assert not cell.problem
        logs = cell.run_dir / "logs" / "version_0"
        logs.mkdir(parents=True)
        (logs / "metrics.csv").write_text(f"step,val/average_miou\n1,{value}\n")
    (chosen,) = tuned_cells(sweep, sweep.tune, places, trials)
    assert chosen.request.overrides[:-1] == trials[2].request.overrides[:-1]


def test_data_without_validation_cannot_be_tuned_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="validation"):
        tuning.validation_average(tmp_path, "best")


def test_what_counts_in_a_trial_is_what_its_protocol_scores(tmp_path: Path) -> None:
    # continued at step 2, and in an order of names that is none of time
    for version, lines in (("2", ["1,0.9", "2,0.3"]), ("10", ["2,0.4", "3,0.6"])):
        logs = tmp_path / "logs" / f"version_{version}"
        logs.mkdir(parents=True)
        (logs / "metrics.csv").write_text("\n".join(["step,val/average_miou", *lines]) + "\n")
    assert tuning.validation_average(tmp_path, "best") == 0.9
    assert tuning.validation_average(tmp_path, "last") == 0.6


def test_tables_hold_no_trials_and_mark_what_was_tuned(tmp_path: Path) -> None:
    record = toy_record(tmp_path / "a", "sgma")
    records = []
    for tuned in (None, 0, 8):
        config = {**record.manifest.config, "cell": {"tuned": tuned}}
        words = (f"--cell.tuned={tuned}",) if tuned is not None else ()
        manifest = record.manifest.model_copy(
            update={"config": config, "overrides": words, "group": f"group{tuned}"}
        )
        records.append(replace(record, manifest=manifest))
    kept = drop_trials(records)
    assert [entry.manifest.tuned for entry in kept] == [None, 8]
    frame = leaderboard_frame(leaderboard_rows(seed_groups(kept)))
    assert set(frame["overrides"]) == {"", "tuned (8)"}
