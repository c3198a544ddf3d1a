"""Scores as pure functions of confusion matrices; every convention has a name.

A matrix has a row per label id (all of them, clutter included) and a column per network output, so
it may be rectangular. `outputs[j]` is the label id of column j. A worked example: labels 0 and 1
are scored, label 2 is clutter that no output exists for and that is ignored.

             output 0   output 1
    label 0        60          0        hits      (60, 30)    the diagonal
    label 1        10         30        support   (60, 40)    sums of rows
    label 2         5          0        predicted (70, 30)    sums of columns, row 2 left out

IoU is hits / (support + predicted - hits): 60 / 70 and 30 / 40, and mIoU their mean.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Absent = Literal["exclude", "zero", "union"]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Convention:
    """How a matrix becomes a number; labels are named by their ids."""

    outputs: tuple[int, ...]  # label of each column
    averaged: tuple[int, ...]  # labels that enter mIoU and mF1
    ignored: tuple[int, ...] = ()  # whose pixels are left out of IoU, F1 and `oa`
    # `exclude` drops classes without a true pixel, `union` those with neither true nor predicted
    # pixels, `zero` counts 0/0 as 0
    absent: Absent = "exclude"
    regions: tuple[str, ...] | None = None  # that are scored (eroded: the interior); None: all


@dataclass(frozen=True)
class Scores:
    """Scores of one matrix in [0, 1]; nan where nothing was counted."""

    miou: float  # means over the averaged classes that `absent` leaves
    mf1: float
    oa: float  # overall accuracy without the ignored labels
    oa_all: float  # over all labelled pixels: an ignored label without an output counts as wrong
    iou: tuple[float, ...]  # per averaged class, in the order of `Convention.averaged`
    f1: tuple[float, ...]
    classes: int  # how many entered the means


class ClassCounts(NamedTuple):
    """Pixels per averaged class, each `(..., classes)`; sums of matrices have the sums of these."""

    hits: npt.NDArray[Any]  # of the class and taken for it
    support: npt.NDArray[Any]  # truly of the class
    predicted: npt.NDArray[Any]  # taken for the class


def class_counts(matrices: Counts, convention: Convention) -> ClassCounts:
    """Count what IoU and F1 are made of, for matrices `(..., labels, outputs)`.

    Example:
        >>> matrix = np.array([[60, 0], [10, 30], [5, 0]])
        >>> counts = class_counts(matrix, Convention((0, 1), (0, 1), ignored=(2,)))
        >>> counts.hits.tolist(), counts.support.tolist(), counts.predicted.tolist()
        ([60, 30], [60, 40], [70, 30])
    """
    matrices = np.asarray(matrices)
    kept = _kept_labels(matrices.shape[-2], convention)
    by_output = matrices[..., kept, :].sum(-2)
    # a network without an output for a class neither hits it nor takes anything for it
    hits = np.zeros((*matrices.shape[:-2], len(convention.averaged)), matrices.dtype)
    predicted = np.zeros_like(hits)
    for position, label in enumerate(convention.averaged):
        if label in convention.outputs:
            column = convention.outputs.index(label)
            hits[..., position] = matrices[..., label, column]
            predicted[..., position] = by_output[..., column]
    return ClassCounts(hits, matrices.sum(-1)[..., list(convention.averaged)], predicted)


def class_scores(counts: ClassCounts, absent: Absent) -> tuple[Floats, Floats, Mask]:
    """Score each class: IoU, F1, and whether it enters the means, each `(..., classes)`.

    Example:
        >>> counts = ClassCounts(np.array([60, 30]), np.array([60, 40]), np.array([70, 30]))
        >>> iou, f1, used = class_scores(counts, "exclude")
        >>> iou.round(3).tolist(), f1.round(3).tolist(), used.tolist()
        ([0.857, 0.75], [0.923, 0.857], [True, True])
    """
    hits, support, predicted = counts
    # union = support + predicted - hits; F1 = 2 precision recall / (precision + recall)
    iou = divide_or_nan(hits, support + predicted - hits)
    f1 = divide_or_nan(2 * hits, support + predicted)
    if absent == "exclude":
        return iou, f1, support > 0
    if absent == "union":
        return iou, f1, support + predicted > 0
    # a subset that no scene was scored under has no score, not 0
    counted = np.broadcast_to(support.sum(-1, keepdims=True) > 0, support.shape)
    return np.nan_to_num(iou, nan=0.0), np.nan_to_num(f1, nan=0.0), counted


def class_mean(values: Floats, used: Mask) -> Floats:
    """Average the used classes, the last axis; nan where none is used. All class means are this."""
    return divide_or_nan(np.where(used, values, 0).sum(-1), used.sum(-1))


def score_matrices(matrices: Counts, convention: Convention) -> list[Scores]:
    """Score matrices `(n, labels, outputs)`."""
    matrices = np.asarray(matrices, np.int64)
    pixels, hits = scored_pixels(matrices, convention)
    # clutter that no output exists for is always wrong in `oa_all`, and not counted in `oa`
    labelled, all_hits = scored_pixels(matrices, replace(convention, ignored=()))
    oa, oa_all = divide_or_nan(hits, pixels), divide_or_nan(all_hits, labelled)
    iou, f1, used = class_scores(class_counts(matrices, convention), convention.absent)
    numbers = (class_mean(iou, used), class_mean(f1, used), oa, oa_all, iou, f1, used.sum(-1))
    # lists, so that scores are numbers of Python's and print as such
    miou, mf1, oa, oa_all, ious, f1s, classes = (values.tolist() for values in numbers)
    return list(map(Scores, miou, mf1, oa, oa_all, map(tuple, ious), map(tuple, f1s), classes))


def scored_pixels(matrices: Counts, convention: Convention) -> tuple[Counts, Counts]:
    """Count the pixels of matrices `(n, labels, outputs)` that are scored, and those also right.

    Example:
        >>> matrix = np.array([[[60, 0], [10, 30], [5, 0]]])
        >>> pixels, hits = scored_pixels(matrix, Convention((0, 1), (0, 1), ignored=(2,)))
        >>> pixels.tolist(), hits.tolist()
        ([100], [90])
    """
    hits = np.zeros(len(matrices), np.int64)
    for column, label in enumerate(convention.outputs):
        if label not in convention.ignored:
            hits += matrices[:, label, column]
    kept = _kept_labels(matrices.shape[1], convention)
    return matrices[:, kept].sum((1, 2)), hits


def _kept_labels(labels: int, convention: Convention) -> list[int]:
    return [label for label in range(labels) if label not in convention.ignored]


def divide_or_nan(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    """Divide elementwise; nan where the denominator is 0."""
    top, bottom = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
