"""IoU and F1 of every class under every subset: `<data>.classes.*` beside the leaderboard."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.formats.markdown import Part, escape_markdown
from benchmark.metrics.confusion import class_scores
from benchmark.metrics.summaries import MeanStd, format_mean_std, mean_std, with_mean_first
from benchmark.records.groups import SeedGroup, comparable_groups

ClassRow = tuple[SeedGroup, MeanStd]
MEASURES = ("IoU", "F1")
MEAN = "mean"  # in the column `class`
NOTE = (
    "Per cent, mean +- std over n seeds, best Average first. The column mean holds mIoU and mF1. "
    "A dash: no test scene has all sensors of the subset, or the class does not enter the mean, "
    "being absent."
)


def score_classes(groups: Sequence[SeedGroup]) -> list[ClassRow]:
    """Score classes in per cent, `(measures, subsets, mean and classes)`; nan outside the mean."""
    rows = []
    for group in groups:
        seeds = []
        for record in group.members:
            iou, f1, used = class_scores(record.class_counts(), record.convention.absent)
            seeds.append([with_mean_first(iou, used), with_mean_first(f1, used)])
        rows.append((group, mean_std(100 * np.array(seeds))))
    return rows


def class_frame(rows: Sequence[ClassRow]) -> pd.DataFrame:
    """Write one line per method, subset and class: IoU and F1, mean and std over seeds."""
    lines: list[dict[str, Any]] = []
    for group, (means, stds) in rows:
        head, names = group.columns(), [MEAN, *group.classes]
        for subset, number in np.ndindex(len(group.first.subsets), len(names)):
            line = {**head, "subset": group.first.subsets[subset], "class": names[number]}
            for place, measure in enumerate(MEASURES):
                line[measure] = means[place, subset, number]
                line[f"{measure} std"] = stds[place, subset, number]
            lines.append(line)
    return pd.DataFrame(lines)


def format_classes(rows: Sequence[ClassRow], measure: int, subset: int) -> pd.DataFrame:
    """Write a table of methods and classes for readers."""
    lines = []
    for group, (means, stds) in rows:
        line = {"method": group.label}
        scores = zip(means[measure, subset], stds[measure, subset], strict=True)
        for name, (mean, std) in zip([MEAN, *group.classes], scores, strict=True):
            line[name] = format_mean_std(mean, std)
        lines.append(line | {"n": str(len(group.members))})
    return pd.DataFrame(lines)


def class_page(data: str, rows: Sequence[ClassRow]) -> tuple[list[Part], dict[str, pd.DataFrame]]:
    """Write the page of all classes, and the tables of IoU with all sensors by protocol."""
    page: list[Part] = [f"# Classes: {escape_markdown(data)}", NOTE]
    full_set = {}
    by_hash = {row[0].group: row for row in rows}
    for title, members in comparable_groups([group for group, _ in rows]).items():
        own = [by_hash[group.group] for group in members]
        page.append(f"## Protocol {escape_markdown(title)}")
        for subset, name in enumerate(members[0].first.subsets):
            for number, measure in enumerate(MEASURES):
                page += [
                    f"### {escape_markdown(name)}, {measure}",
                    format_classes(own, number, subset),
                ]
        full_set[title] = format_classes(own, 0, -1)
    return page, full_set
