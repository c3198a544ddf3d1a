"""IoU and F1 of every class under every subset, from run records: `<data>.classes.*` beside the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.formats.markdown_latex import Part
from benchmark.formats.numbers import format_mean_std
from benchmark.metrics.confusion import Floats, class_scores
from benchmark.metrics.summaries import average_top1_last1, mean_std, with_mean_first
from benchmark.records.groups import SeedGroup, comparable_groups

MEASURES = ("IoU", "F1")
MEAN = "mean"  # in the column `class`
NOTE = (
    "Per cent, mean +- std over n seeds, best Average first. The column mean holds mIoU and mF1. A dash: no test scene "
    "has all sensors of the subset, or the class does not enter the mean, being absent."
)


def class_values(row: SeedGroup) -> Floats:
    """Per cent, seeds x measures x subsets x (1 + averaged classes), of which the first is the mean; nan: no score."""
    seeds = []
    for record in row.members:
        iou, f1, used = class_scores(record.class_counts(), record.convention.absent)
        seeds.append([with_mean_first(iou, used), with_mean_first(f1, used)])
    return 100 * np.array(seeds)


def class_board(rows: Sequence[SeedGroup]) -> pd.DataFrame:
    """Long form: subset, class, IoU and F1 with their standard deviations over seeds."""
    lines: list[dict[str, Any]] = []
    for row in rows:
        values = class_values(row)
        for subset, name in enumerate(row.first.subsets):
            for number, label in enumerate([MEAN, *row.classes]):
                line = {**row.columns(), "subset": name, "class": label}
                for seeds, measure in zip(values[:, :, subset, number].T, MEASURES, strict=True):
                    line[measure], line[f"{measure} std"] = mean_std(seeds)
                lines.append(line)
    return pd.DataFrame(lines)


def class_page(data: str, rows: Sequence[SeedGroup]) -> list[Part]:
    """A table of methods and classes for each protocol, subset and measure."""
    parts: list[Part] = [f"# Classes: {data}", NOTE]
    for title, members in comparable_groups(rows).items():
        parts.append(f"## Protocol {title}")
        ranked = sorted(
            ((row, class_values(row)) for row in members), key=lambda entry: -_average(entry[1])
        )
        for subset, name in enumerate(members[0].first.subsets):
            for number, measure in enumerate(MEASURES):
                parts += [
                    f"### {name}, {measure}",
                    _table([(row, of[:, number, subset]) for row, of in ranked]),
                ]
    return parts


def _average(values: Floats) -> float:
    """Mean over seeds and subsets of mIoU, by which the leaderboard sorts."""
    return float(average_top1_last1(values[:, 0, :, 0]).average.mean())


def _table(rows: Sequence[tuple[SeedGroup, Floats]]) -> pd.DataFrame:
    """Rows with their seeds x (1 + classes)."""
    return pd.DataFrame(
        {"method": row.label}
        | {
            name: format_mean_std(*mean_std(seeds))
            for name, seeds in zip([MEAN, *row.classes], values.T, strict=True)
        }
        | {"n": str(len(row.members))}
        for row, values in rows
    )
