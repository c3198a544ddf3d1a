"""Scores and counts of one row as plain lists, a value per seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.metrics.confusion import Scores, class_scores
from benchmark.records.groups import SeedGroup
from benchmark.records.record import Record


def rounded(values: npt.ArrayLike, digits: int = 8) -> Any:
    """Nested lists of rounded numbers, None for nan: JSON knows no nan.

    The page rounds again to two places; with eight here that is the same as rounding once.
    """
    array = np.asarray(values, float)
    if array.ndim:
        return [rounded(part, digits) for part in array]
    return None if np.isnan(array) else round(float(array), digits)


def row_scores(row: SeedGroup, conditions: list[str]) -> dict[str, Any]:
    """Per cent under the record's own convention and label kind, and counts.

    Returns:
        `miou`, `mf1`, `oa`: seeds x conditions x subsets; `iou`: ... x averaged classes, None where a class does not
        enter the mean; `counts`: seeds x subsets x labels x outputs over all scenes; `scored`: conditions x subsets,
        how many scenes. A condition that a record lacks has None.
    """
    means: dict[str, list[Any]] = {"miou": [], "mf1": [], "oa": []}
    for record in row.members:
        by_condition = [
            record.scores(name) if name in record.conditions else None for name in conditions
        ]
        for name, values in means.items():
            values.append([_percents(scores, name, len(record.subsets)) for scores in by_condition])
    counts = [record.matrices().tolist() for record in row.members]
    iou = [[_class_iou(record, name) for name in conditions] for record in row.members]
    return {
        **means,
        "iou": iou,
        "counts": counts,
        "scored": [_scored(row.first, name) for name in conditions],
    }


def _percents(scores: dict[str, Scores] | None, name: str, subsets: int) -> Any:
    if scores is None:
        return [None] * subsets
    return rounded([100 * getattr(entry, name) for entry in scores.values()])


def _class_iou(record: Record, condition: str) -> Any:
    convention = record.convention
    if condition not in record.conditions:
        return [[None] * len(convention.averaged)] * len(record.subsets)
    iou, _, used = class_scores(record.class_counts(condition), convention.absent)
    return rounded(np.where(used, 100 * iou, np.nan), 4)


def _scored(record: Record, condition: str) -> list[int]:
    if condition not in record.conditions:
        return [0] * len(record.subsets)
    return [int(number) for number in record.scored[:, record.conditions.index(condition)]]
