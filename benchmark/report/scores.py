"""Scores and counts of one row as plain lists, a value per seed."""

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.leaderboard.score_rows import ScoreRow
from benchmark.metrics.confusion import class_scores
from benchmark.records.groups import SeedGroup


def round_for_json(values: npt.ArrayLike, digits: int = 8) -> Any:
    """Turn an array into nested lists of rounded numbers, None for nan: JSON knows no nan.

    Example:
        >>> round_for_json([[1.23456, float("nan")]], digits=2)
        [[1.23, None]]
    """
    # the page rounds again to two places; with eight here that is the same as rounding once
    rounded = np.asarray(np.round(np.asarray(values, float), digits))
    array = rounded.astype(object)
    array[np.isnan(rounded)] = None
    return array.tolist()


def group_scores(group: SeedGroup, conditions: list[str]) -> dict[str, Any]:
    """Score a row in per cent under the record's own convention and label kind, and count.

    `miou`, `mf1`, `oa` are `(seeds, conditions, subsets)`, `iou` has the averaged classes besides,
    `counts` is `(seeds, subsets, labels, outputs)` over all scenes, `scored` `(conditions,
    subsets)`. None is a condition that the row lacks, or a class outside the mean.
    """
    first = group.first
    shape = (len(group.members), len(conditions), len(first.subsets))
    # nan stays where the row lacks a condition, which the page shows as a dash
    scores = {name: np.full(shape, np.nan) for name in ("miou", "mf1", "oa")}
    by_class = np.full((*shape, len(group.classes)), np.nan)
    scored = np.zeros(shape[1:], int)
    for place, condition in enumerate(conditions):
        if condition not in first.conditions:
            continue
        row = ScoreRow.of_group(group, condition)
        for name, values in scores.items():
            values[:, place] = getattr(row, name)
        scored[place] = row.scenes
        for seed, record in enumerate(group.members):
            counts, absent = record.class_counts(condition), record.convention.absent
            iou, _, used = class_scores(counts, absent)
            by_class[seed, place] = np.where(used, 100 * iou, np.nan)
    return {
        **{name: round_for_json(values) for name, values in scores.items()},
        "iou": round_for_json(by_class, 4),
        "counts": [record.matrices().tolist() for record in group.members],
        "scored": scored.tolist(),
    }
