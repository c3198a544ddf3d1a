"""Scores and counts of one row as plain lists, a value per seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.metrics.confusion import class_scores
from benchmark.records.groups import SeedGroup
from benchmark.records.record import Record


def round_for_json(values: npt.ArrayLike, digits: int = 8) -> Any:
    """Turn an array into nested lists of rounded numbers, None for nan: JSON knows no nan.

    The page rounds again to two places; with eight here that is the same as rounding once.

    Example:
        >>> round_for_json([[1.23456, float("nan")]], digits=2)
        [[1.23, None]]
    """
    rounded = np.asarray(np.round(np.asarray(values, float), digits))
    array = rounded.astype(object)
    array[np.isnan(rounded)] = None
    return array.tolist()


def group_scores(group: SeedGroup, conditions: list[str]) -> dict[str, Any]:
    """Score a row in per cent under the record's own convention and label kind, and count.

    Returns:
        `miou`, `mf1`, `oa`: `(seeds, conditions, subsets)`; `iou`: `(..., averaged classes)`, None
        where a class does not enter the mean; `counts`: `(seeds, subsets, labels, outputs)` over
        all scenes; `scored`: `(conditions, subsets)`, how many scenes. A condition that a record
        lacks has None.
    """
    scores: dict[str, list[Any]] = {"miou": [], "mf1": [], "oa": [], "iou": []}
    for record in group.members:
        by_condition = [_score_condition(record, name) for name in conditions]
        for name, values in scores.items():
            values.append([entry[name] for entry in by_condition])
    scored = []
    for name in conditions:
        numbers = np.zeros(len(group.first.subsets), int)
        if name in group.first.conditions:
            numbers = group.first.scored[:, group.first.conditions.index(name)]
        scored.append(numbers.tolist())
    counts = [record.matrices().tolist() for record in group.members]
    return {**scores, "counts": counts, "scored": scored}


def _score_condition(record: Record, condition: str) -> dict[str, Any]:
    if condition not in record.conditions:
        nothing = [None] * len(record.subsets)
        by_class = [[None] * len(record.convention.averaged)] * len(record.subsets)
        return {"miou": nothing, "mf1": nothing, "oa": nothing, "iou": by_class}
    scores = record.scores(condition).values()
    found = {}
    for name in ("miou", "mf1", "oa"):
        found[name] = round_for_json([100 * getattr(entry, name) for entry in scores])
    iou, _, used = class_scores(record.class_counts(condition), record.convention.absent)
    return found | {"iou": round_for_json(np.where(used, 100 * iou, np.nan), 4)}
