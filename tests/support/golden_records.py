"""A fixed set of records by a formula, and the files that the table commands make of it.

`python -m tests.support.golden_records` writes the golden files of the leaderboard anew: look at
the difference by hand, and commit it with the change that moved it.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.__main__ import main
from benchmark.metrics.confusion import Convention
from benchmark.metrics.result import EvaluationResult
from benchmark.records import selection
from tests.support.toy_records import CONVENTION, LABELS, PROTOCOL, toy_record

GOLDEN = Path(__file__).parents[1] / "benchmark" / "leaderboard" / "golden"
FILES = ("toy.csv", "toy.md", "toy.tex")  # one of each format
COMMANDS = {
    "leaderboard": [],
    "sensor-value": [],
    "conventions": [],
    "compare": ["--samples", "100"],
}
SUBSETS = ("R", "D", "R+D")
SCENES = 10
FOG, SUN = "weather=fog", "weather=sun"
# method: (errors of 40 to 50 pixels under R, D, R+D; seeds)
METHODS = {"early": ((24, 12, 3), 1), "plain": ((18, 16, 9), 2), "steady_1": ((15, 14, 8), 1)}
OTHER = PROTOCOL.model_copy(
    update={"name": "other", "selected": "last", "score_label": "label_eroded"}
)
CLUTTER_IN = Convention((0, 1, 2, 3), (0, 1, 2), absent="zero", regions=("interior",))


def result(method: str, seed: int, outputs: int = 3) -> EvaluationResult:
    """Ten scenes in two weathers, one block and two regions each; no tree stands in fog."""
    counts = []
    for scene in range(SCENES):
        own = np.zeros((len(SUBSETS), 1, 2, len(LABELS), outputs), np.int64)
        for subset, region, label in np.ndindex(len(SUBSETS), 2, len(LABELS)):
            truth = 40 + (7 * scene + 5 * label + 3 * region) % 11
            if LABELS[label] == "tree" and scene % 2 == 0:
                truth = 0
            errors = (
                METHODS[method][0][subset]
                + (3 * scene + 5 * label + 2 * seed + subset + region) % 6
            )
            errors = truth if label >= outputs else min(errors, truth)
            row = own[subset, 0, region, label]
            if label < outputs:
                row[label] = truth - errors
            row[(label + 1) % outputs] += errors // 2
            row[(label + 2) % outputs] += errors - errors // 2
        counts.append(own)
    names = tuple(f"scene{number}" for number in range(SCENES))
    conditions = {name: [FOG if number % 2 == 0 else SUN] for number, name in enumerate(names)}
    scored = np.ones((len(SUBSETS), SCENES), bool)
    return EvaluationResult(
        SUBSETS, names, conditions, ("interior", "band"), LABELS, counts, scored
    )


def write_records(runs: Path, **convention: Any) -> None:
    """Rows of the protocol `standard`, whose convention may be changed, and one of another."""
    settings = {"data": "toy", "convention": replace(CONVENTION, **convention)}
    for method, (_, seeds) in METHODS.items():
        for seed in range(seeds):
            toy_record(
                runs, method, seed, result(method, seed), control=method == "plain", **settings
            )
    toy_record(
        runs, "other", 0, result("plain", 5, outputs=4), protocol=OTHER, convention=CLUTTER_IN
    )


def tables(command: str, runs: Path, out: Path) -> dict[str, str]:
    """What a table command writes."""
    assert main([command, "--runs", str(runs), "--out", str(out), *COMMANDS[command]]) == 0
    return {path.name: path.read_text() for path in sorted(out.iterdir())}


def write_golden() -> None:
    """Write the golden files anew."""
    with tempfile.TemporaryDirectory() as place:
        selection.PUBLISHED = Path(place) / "none"
        write_records(Path(place) / "runs")
        texts = tables("leaderboard", Path(place) / "runs", Path(place) / "out")
    for name in FILES:
        (GOLDEN / name).write_text(texts[name])


if __name__ == "__main__":
    write_golden()
