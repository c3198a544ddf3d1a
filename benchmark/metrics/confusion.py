"""Scores as pure functions of confusion matrices; every convention has a name.

A matrix has a row per label id (all of them, clutter included) and a column per network output, so it may be
rectangular. `outputs[j]` is the label id of column j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Absent = Literal["exclude", "zero", "union"]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


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
    return score_all(np.asarray(matrix)[None], convention)[0]


def score_all(matrices: Counts, convention: Convention) -> list[Scores]:
    """Score any number x labels x outputs."""
    matrices = np.asarray(matrices, np.int64)
    labels = range(matrices.shape[1])
    iou, f1, used = class_scores(class_sums(matrices, convention), convention.absent)
    kept = [label for label in labels if label not in convention.ignored]
    total, hits = matrices.sum(-1), np.zeros(matrices.shape[:2], np.int64)
    for j, label in enumerate(convention.outputs):
        hits[:, label] = matrices[:, label, j]
    oa, oa_all = (
        _ratio(hits[:, kept].sum(-1), total[:, kept].sum(-1)),
        _ratio(hits.sum(-1), total.sum(-1)),
    )
    return [
        Scores(
            miou=_mean(iou[number][used[number]]),
            mf1=_mean(f1[number][used[number]]),
            oa=float(oa[number]),
            oa_all=float(oa_all[number]),
            iou=tuple(iou[number].tolist()),
            f1=tuple(f1[number].tolist()),
            classes=int(used[number].sum()),
        )
        for number in range(len(matrices))
    ]


def class_sums(matrices: Counts, convention: Convention) -> Counts:
    """What IoU and F1 are made of, for any number of matrices at once.

    Sums of matrices give sums of these, so that resampling and pooling may work on them instead.

    Args:
        matrices: int64 ... x labels x outputs.
        convention: `absent` plays no part.

    Returns:
        int64 ... x 3 x averaged classes: pixels that are hit, that truly are of the class, and that were taken for it.
    """
    matrices = np.asarray(matrices)
    column = {label: j for j, label in enumerate(convention.outputs)}
    kept = [label for label in range(matrices.shape[-2]) if label not in convention.ignored]
    predicted = matrices[..., kept, :].sum(-2)
    truth = matrices.sum(-1)[..., list(convention.averaged)]
    nothing = np.zeros(matrices.shape[:-2], matrices.dtype)
    # a network without an output for a class neither hits it nor takes anything for it
    hits = [
        matrices[..., label, column[label]] if label in column else nothing
        for label in convention.averaged
    ]
    guessed = [
        predicted[..., column[label]] if label in column else nothing
        for label in convention.averaged
    ]
    return np.stack([np.stack(hits, -1), truth, np.stack(guessed, -1)], -2)


def class_scores(
    sums: npt.NDArray[Any], absent: Absent
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """IoU and F1 of each averaged class, and which classes enter the means, from `class_sums`; all ... x classes."""
    tp, truth, guessed = (sums[..., part, :] for part in range(3))
    iou, f1 = _ratio(tp, truth + guessed - tp), _ratio(2 * tp, truth + guessed)
    if absent == "exclude":
        return iou, f1, truth > 0
    if absent == "union":
        return iou, f1, truth + guessed > 0
    counted = (
        truth.sum(-1, keepdims=True) > 0
    )  # a subset that no scene was scored under has no score, not 0
    return (
        np.nan_to_num(iou, nan=0.0),
        np.nan_to_num(f1, nan=0.0),
        np.broadcast_to(counted, truth.shape),
    )


def mean_over(values: Floats, used: npt.NDArray[np.bool_]) -> Floats:
    """Means of the used values along the last axis; nan where none is used."""
    return _ratio(np.where(used, values, 0).sum(-1), used.sum(-1))


def summarise(values: Sequence[float]) -> tuple[float, float, float]:
    """Average, Top-1 and Last-1 of the scores of all subsets (SGMA, section IV).

    A subset that no scene has all modalities of has no score (nan) and does not count; tables name it.
    """
    scored = [value for value in values if not np.isnan(value)] or [float("nan")]
    return float(np.mean(scored)), float(np.max(scored)), float(np.min(scored))


def _ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    top, bottom = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
