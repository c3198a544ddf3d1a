"""The per-seed tables of the ledgers, which no command prints, recomputed from the published records."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmark.choices import ROOT
from benchmark.metrics.confusion import Scores
from benchmark.records.record import search_records
from benchmark.records.selection import PUBLISHED

SEEDS = 3


def missing_f1(scores: dict[str, Scores]) -> float:
    """Mean F1 in per cent over the subsets that lack a modality."""
    full = max(name.count("+") for name in scores)
    return float(
        100 * np.mean([entry.mf1 for name, entry in scores.items() if name.count("+") < full])
    )


def drop(scores: dict[str, Scores]) -> float:
    """Points of mIoU between all modalities and R alone."""
    return 100 * (scores["R+D+N"].miou - scores["R"].miou)


def tabled(path: Path, row: str) -> list[str]:
    """Cells of the lines that begin with `row` and end with a value for each seed and their mean +- std."""
    lines = [line for line in path.read_text().splitlines() if line.startswith(f"| {row} |")]
    seeds = rf"((?:\d+\.\d\d \| ){{{SEEDS}}}\d+\.\d\d \+- \d+\.\d\d) \|$"
    return [found[1] for line in lines if (found := re.search(seeds, line))]


@pytest.mark.parametrize(
    ("ledger", "data", "figure", "rows", "place"),
    [
        ("gemmnet", "miniature", missing_f1, ("gemmnet_ae", "gemmnet_cgan", "ae", "cgan"), 0),
        (
            "gemmnet",
            "vaihingen_miniature",
            missing_f1,
            ("gemmnet_ae", "gemmnet_cgan", "ae", "cgan"),
            1,
        ),
        ("mobanet", "miniature", drop, ("mobanet", "mobanet_no_mcrm"), 0),
    ],
)
def test_per_seed_tables_are_those_of_the_records(
    ledger: str,
    data: str,
    figure: Callable[[dict[str, Scores]], float],
    rows: tuple[str, ...],
    place: int,
) -> None:
    records, _ = search_records([PUBLISHED / data])
    for row in rows:
        found = {
            r.manifest["seed"]: figure(dict(r.scores()))
            for r in records
            if r.manifest["variant"] == row
        }
        values = np.array([found[seed] for seed in range(SEEDS)])
        cells = [f"{value:.2f}" for value in values] + [
            f"{values.mean():.2f} +- {values.std(ddof=1):.2f}"
        ]
        assert tabled(ROOT / "methods" / ledger / "README.md", row)[place] == " | ".join(cells), row
