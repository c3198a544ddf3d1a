"""Scores as pure functions of confusion matrices; every convention has a name.

A matrix has a row per label id (all of them, clutter included) and a column per network output, so it may be
rectangular. `outputs[j]` is the label id of column j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Absent = Literal["exclude", "zero", "union"]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Convention:
    """How a matrix becomes a number.

    Attributes:
        outputs: label id of each column.
        averaged: label ids that enter mIoU and mF1.
        ignored: label ids whose pixels are left out of IoU, F1 and `oa` (clutter under `clutter: ignore`).
        absent: what a class without evidence counts: `exclude` drops classes without a true pixel, `union` those with
            neither true nor predicted pixels, `zero` keeps all and counts 0/0 as 0.
    """

    outputs: tuple[int, ...]
    averaged: tuple[int, ...]
    ignored: tuple[int, ...] = ()
    absent: Absent = "exclude"


@dataclass(frozen=True)
class Scores:
    """Scores of one matrix in [0, 1]; nan where nothing was counted.

    Attributes:
        miou, mf1: means over the averaged classes that `absent` leaves.
        oa: overall accuracy without the ignored labels.
        oa_all: overall accuracy over all labelled pixels (an ignored label counts as wrong unless it is an output).
        iou, f1: per averaged class, in the order of `Convention.averaged`.
        classes: how many classes entered the means.
    """

    miou: float
    mf1: float
    oa: float
    oa_all: float
    iou: tuple[float, ...]
    f1: tuple[float, ...]
    classes: int


def score(matrix: Counts, convention: Convention) -> Scores:
    """Score one labels x outputs matrix."""
    matrix = np.asarray(matrix, np.int64)
    column = {label: j for j, label in enumerate(convention.outputs)}
    kept = [label for label in range(len(matrix)) if label not in convention.ignored]
    predicted = matrix[kept].sum(0)
    true = matrix.sum(1)
    hits = np.array([matrix[label, column[label]] if label in column else 0 for label in range(len(matrix))])
    tp = hits[list(convention.averaged)]
    truth = true[list(convention.averaged)]
    guessed = np.array([predicted[column[label]] if label in column else 0 for label in convention.averaged])
    iou = _ratio(tp, truth + guessed - tp)
    f1 = _ratio(2 * tp, truth + guessed)
    if convention.absent == "exclude":
        used = truth > 0
    elif convention.absent == "union":
        used = truth + guessed > 0
    else:
        used = np.ones(len(tp), bool)
        iou, f1 = np.nan_to_num(iou, nan=0.0), np.nan_to_num(f1, nan=0.0)
    return Scores(
        miou=_mean(iou[used]),
        mf1=_mean(f1[used]),
        oa=float(_ratio(hits[kept].sum(), matrix[kept].sum())),
        oa_all=float(_ratio(hits.sum(), matrix.sum())),
        iou=tuple(float(value) for value in iou),
        f1=tuple(float(value) for value in f1),
        classes=int(used.sum()),
    )


def summarise(values: Sequence[float]) -> tuple[float, float, float]:
    """Average, Top-1 and Last-1 of the scores of all subsets (SGMA, section IV).

    A subset that no scene has all modalities of has no score (nan) and does not count; tables name it.
    """
    scored = [value for value in values if not np.isnan(value)] or [float("nan")]
    return float(np.mean(scored)), float(np.max(scored)), float(np.min(scored))


def _ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> npt.NDArray[np.float64]:
    top, bottom = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
