"""Average, Top-1 and Last-1 over subsets; mean and standard deviation over seeds."""

import math
from collections.abc import Sequence
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


def average_top1_last1(values: npt.ArrayLike, subsets: Sequence[str] = ()) -> SubsetSummary:
    """Summarise scores `(..., subsets)` over their last axis.

    A subset that no scene has all modalities of has no score (nan) and does not count. Given the
    names of the subsets, there is no summary (nan) of a network that does not see some of them.

    Example:
        >>> summary = average_top1_last1([50.0, 80.0, float("nan")])
        >>> float(summary.average), float(summary.top1), float(summary.last1)
        (65.0, 80.0, 50.0)
        >>> float(average_top1_last1([80.0, float("nan"), 80.0], ["R", "D", "R+D"]).average)
        nan
    """
    scores = np.asarray(values, float)
    scored = ~np.isnan(scores)
    average = divide_or_nan(np.where(scored, scores, 0).sum(-1), scored.sum(-1))
    # fmax and fmin pass over nan, unlike max and min
    summary = SubsetSummary(average[()], np.fmax.reduce(scores, -1), np.fmin.reduce(scores, -1))
    if not subsets:
        return summary
    blind = unseen_subsets(scored, subsets).any(-1)
    return SubsetSummary(*(np.where(blind, np.nan, number)[()] for number in summary))


def unseen_subsets(scored: Mask, subsets: Sequence[str]) -> Mask:
    """Mark the subsets, `(..., subsets)`, that have no score where one with more sensors has.

    A scene that has more sensors has fewer too: it is the network that sees none of these.

    Example:
        >>> unseen_subsets(np.array([True, False, True]), ["R", "D", "R+D"]).tolist()
        [False, True, False]
    """
    sensors = [set(name.split("+")) for name in subsets]
    larger = np.array([[few < more for few in sensors] for more in sensors])
    # a product of bools: whether any of the larger ones is scored
    return np.asarray(~scored & (scored @ larger))


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
