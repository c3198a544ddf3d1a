"""Random search of hyperparameters with one budget for every method: none has had more care.

Every method is trained with the same draws; the one with the best validation Average, of weights
that its protocol scores, is trained again over the seeds. Test scenes have no say. Trials stand in
no table, and the rows that they led to say how many there were: `tuned (8)`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.experiment.request import Request
from benchmark.sweep.cell_states import record_of
from benchmark.sweep.plan import Cell
from benchmark.sweep.sweep_file import (
    Range,
    SweepFile,
    Tuning,
    Wanted,
    override_words,
    wanted_cells,
)
from usererror import UserError

AVERAGE = "val/average_miou"
TRIAL = "--cell.tuned=0"  # in the words of every trial


def draw_trials(tuning: Tuning) -> list[dict[str, Any]]:
    """Draw the settings of every trial.

    Example:
        >>> space = {"model.optimizer.lr": {"low": 1e-5, "high": 1e-3, "log": True}}
        >>> trials = draw_trials(Tuning(trials=3, space=space))
        >>> [1e-5 <= trial["model.optimizer.lr"] <= 1e-3 for trial in trials]
        [True, True, True]
    """
    random = np.random.default_rng(tuning.seed)
    trials = []
    for _ in range(tuning.trials):
        trials.append({name: _draw(random, space) for name, space in tuning.space.items()})
    return trials


def _draw(random: np.random.Generator, space: list[Any] | Range) -> Any:
    if isinstance(space, list):
        return space[random.integers(len(space))]
    low, high = space.low, space.high
    if space.log:
        value = math.exp(random.uniform(math.log(low), math.log(high)))
    else:
        value = random.uniform(low, high)
    # digits that nobody reads would only lengthen names
    return float(f"{value:.3g}")


def trial_cells(sweep: SweepFile, tuning: Tuning, places: Request) -> list[Wanted]:
    """List the trials of a sweep: all its experiments but for the seed, with every draw."""
    found: dict[Request, Wanted] = {}
    for entry in wanted_cells(sweep, places):
        for trial in draw_trials(tuning):
            words = (*entry.request.overrides, *override_words(trial), TRIAL)
            request = replace(entry.request, seed=tuning.seed, overrides=words)
            # once for all seeds
            found.setdefault(request, replace(entry, request=request))
    return list(found.values())


def tuned_cells(
    sweep: SweepFile, tuning: Tuning, places: Request, trials: Sequence[Cell]
) -> list[Wanted]:
    """List the experiments with the settings that won, of those whose trials are all done."""
    by_row: dict[Request, list[Cell]] = {}
    for asked, cell in zip(trial_cells(sweep, tuning, places), trials, strict=True):
        # as asked for, since a plan knows files by their whole paths, and without the draws
        kept = asked.request.overrides[: -len(tuning.space) - 1]
        row = replace(asked.request, seed=0, overrides=kept)
        by_row.setdefault(row, []).append(cell)
    chosen: dict[Request, tuple[str, ...]] = {}
    for row, cells in by_row.items():
        records = [None if cell.problem else record_of(cell) for cell in cells]
        scores = []
        for cell, record in zip(cells, records, strict=True):
            if record and all(records):
                scores.append(validation_average(cell.run_dir, record.manifest.protocol.selected))
        if scores:
            # of equal ones the first draw
            best = cells[scores.index(max(scores))]
            draws = best.request.overrides[len(row.overrides) : -1]
            chosen[row] = (*draws, *override_words({"cell.tuned": tuning.trials}))
    found = []
    for entry in wanted_cells(sweep, places):
        row = replace(entry.request, seed=0)
        if row in chosen:
            words = (*entry.request.overrides, *chosen[row])
            found.append(replace(entry, request=replace(entry.request, overrides=words)))
    return found


def validation_average(run_dir: Path, selected: str) -> float:
    """Read the validation Average of the weights that a run scores: its `best`, or its `last`."""
    values: dict[int, float] = {}
    for file in sorted(run_dir.glob("logs/version_*/metrics.csv")):
        with file.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if row.get(AVERAGE):
                    value = float(row[AVERAGE])
                    # of a training that diverged: no other is less than it
                    values[int(row["step"])] = -math.inf if math.isnan(value) else value
    if not values:
        problem = f"{run_dir} has no validation scores, and trials are chosen by nothing else"
        raise UserError(f"{problem}: tune on data and a protocol with validation scenes.")
    return max(values.values()) if selected == "best" else values[max(values)]
