"""Average, Top-1 and Last-1 over subsets; mean and standard deviation over seeds."""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.metrics.confusion import (
    ClassCounts,
    Convention,
    Floats,
    Mask,
    class_mean,
    class_scores,
    divide_or_nan,
)

SUMMARIES = ("Average", "Top-1", "Last-1")  # names of the fields of `SubsetSummary` in tables


class SubsetSummary(NamedTuple):
    """The three numbers that papers print of the scores of all subsets (SGMA, section IV)."""

    average: Any
    top1: Any
    last1: Any


def average_top1_last1(values: npt.ArrayLike) -> SubsetSummary:
    """Summarise scores `(..., subsets)` over their last axis.

    A subset that no scene has all modalities of has no score (nan) and does not count.

    Example:
        >>> summary = average_top1_last1([50.0, 80.0, float("nan")])
        >>> float(summary.average), float(summary.top1), float(summary.last1)
        (65.0, 80.0, 50.0)
    """
    scores = np.asarray(values, float)
    scored = ~np.isnan(scores)
    average = divide_or_nan(np.where(scored, scores, 0).sum(-1), scored.sum(-1))
    # fmax and fmin pass over nan, unlike max and min
    return SubsetSummary(average[()], np.fmax.reduce(scores, -1), np.fmin.reduce(scores, -1))


class MeanStd(NamedTuple):
    """Mean and standard deviation over seeds."""

    mean: Any
    std: Any


def mean_std(seeds: npt.ArrayLike) -> MeanStd:
    """Average over the first axis (seeds), with standard deviation (ddof 1; nan of one seed)."""
    values = np.asarray(seeds, float)
    # one seed has no spread: 0 would claim that there is none
    alone = np.full(values.shape[1:], np.nan)[()]
    return MeanStd(values.mean(0), values.std(0, ddof=1) if len(values) > 1 else alone)


def format_mean_std(mean: float, std: float, decimals: int = 2, sign: str = " +- ") -> str:
    """Write `57.05 +- 0.31`; the mean alone where there is no deviation, a dash without a score.

    Example:
        >>> format_mean_std(57.049, 0.312), format_mean_std(57.049, float("nan"))
        ('57.05 +- 0.31', '57.05')
    """
    if math.isnan(mean):
        return "-"
    deviation = "" if math.isnan(std) else f"{sign}{std:.{decimals}f}"
    return f"{mean:z.{decimals}f}{deviation}"


def mean_scores(counts: ClassCounts, convention: Convention) -> tuple[Floats, Floats]:
    """Compute mIoU and mF1 in per cent for every entry of the counts' leading axes."""
    iou, f1, used = class_scores(counts, convention.absent)
    return 100 * class_mean(iou, used), 100 * class_mean(f1, used)


def with_mean_first(values: Floats, used: Mask) -> Floats:
    """Put the mean before the classes: `(..., 1 + classes)`; nan where a class is not used."""
    mean = class_mean(values, used)[..., None]
    return np.concatenate([mean, np.where(used, values, np.nan)], -1)
