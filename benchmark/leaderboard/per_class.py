"""IoU and F1 of every class under every subset: `<data>.classes.*` beside the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.formats.markdown import Part
from benchmark.formats.numbers import format_mean_std
from benchmark.metrics.confusion import Floats, class_scores
from benchmark.metrics.summaries import mean_std, with_mean_first
from benchmark.records.groups import SeedGroup, comparable_groups

MEASURES = ("IoU", "F1")
MEAN = "mean"  # in the column `class`
NOTE = (
    "Per cent, mean +- std over n seeds, best Average first. The column mean holds mIoU and mF1. "
    "A dash: no test scene has all sensors of the subset, or the class does not enter the mean, "
    "being absent."
)


def class_values(group: SeedGroup) -> Floats:
    """Score each class in per cent: `(seeds, measures, subsets, 1 + classes)`, the mean first.

    A class without a score, or outside the mean, is nan.
    """
    seeds = []
    for record in group.members:
        iou, f1, used = class_scores(record.class_counts(), record.convention.absent)
        seeds.append([with_mean_first(iou, used), with_mean_first(f1, used)])
    return 100 * np.array(seeds)


def class_frame(groups: Sequence[SeedGroup]) -> pd.DataFrame:
    """Write one line per method, subset and class: IoU and F1, mean and std over seeds."""
    lines: list[dict[str, Any]] = []
    for group in groups:
        # every seed is scored first, then scores are averaged, as in the leaderboard
        means, stds = mean_std(class_values(group))
        head, names = group.columns(), [MEAN, *group.classes]
        for subset, number in np.ndindex(len(group.first.subsets), len(names)):
            line = {**head, "subset": group.first.subsets[subset], "class": names[number]}
            for place, measure in enumerate(MEASURES):
                line[measure] = means[place, subset, number]
                line[f"{measure} std"] = stds[place, subset, number]
            lines.append(line)
    return pd.DataFrame(lines)


def format_classes(groups: Sequence[SeedGroup], subset: int, measure: int) -> pd.DataFrame:
    """Write a table of methods and classes for readers."""
    lines = []
    for group in groups:
        means, stds = mean_std(class_values(group)[:, measure, subset])
        line = {"method": group.label}
        for name, mean, std in zip([MEAN, *group.classes], means, stds, strict=True):
            line[name] = format_mean_std(mean, std)
        lines.append(line | {"n": str(len(group.members))})
    return pd.DataFrame(lines)


def class_page(data: str, groups: Sequence[SeedGroup]) -> list[Part]:
    """Write a table of methods and classes for each protocol, subset and measure."""
    parts: list[Part] = [f"# Classes: {data}", NOTE]
    for title, members in comparable_groups(groups).items():
        parts.append(f"## Protocol {title}")
        for subset, name in enumerate(members[0].first.subsets):
            for number, measure in enumerate(MEASURES):
                parts += [f"### {name}, {measure}", format_classes(members, subset, number)]
    return parts


def full_set_classes(groups: Sequence[SeedGroup]) -> dict[str, pd.DataFrame]:
    """Write IoU of all classes with all sensors for readers, by protocol."""
    tables = {}
    for title, members in comparable_groups(groups).items():
        tables[title] = format_classes(members, len(members[0].first.subsets) - 1, 0)
    return tables
