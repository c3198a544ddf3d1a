"""Average, Top-1 and Last-1; means and standard deviations over seeds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmark.metrics.confusion import Convention, Counts, Floats, class_scores, mean_over

SUMMARIES = ("Average", "Top-1", "Last-1")


def deviation(values: np.ndarray) -> float:
    """Standard deviation over seeds (ddof 1); nan of a single one."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def mean_scores(sums: Counts, convention: Convention) -> tuple[Floats, Floats]:
    """MIoU and mF1 in per cent, from ... x 3 x averaged classes."""
    iou, f1, used = class_scores(sums, convention.absent)
    return 100 * mean_over(iou, used), 100 * mean_over(f1, used)


def mean_first(values: Floats, used: npt.NDArray[np.bool_]) -> Floats:
    """Scores ... x classes as ... x (1 + classes): their mean over the used classes, then each, nan where not used."""
    return np.concatenate([mean_over(values, used)[..., None], np.where(used, values, np.nan)], -1)


def spread(seeds: Floats) -> str:
    """Mean +- std over seeds to two decimals; a dash where there is no score."""
    if np.isnan(seeds).any():
        return "-"
    return f"{seeds.mean():.2f}" + (f" +- {deviation(seeds):.2f}" if len(seeds) > 1 else "")


def headline_scores(values: Floats) -> Floats:
    """Average, Top-1 and Last-1 over the last axis (subsets) of ... x subsets; the result is ... x 3.

    As `metrics.summarise`, for many at once: subsets without a score (nan) do not count.
    """
    scored = ~np.isnan(values)
    some = scored.any(-1)
    top = np.where(some, np.where(scored, values, -np.inf).max(-1), np.nan)
    last = np.where(some, np.where(scored, values, np.inf).min(-1), np.nan)
    return np.stack([mean_over(values, scored), top, last], -1)
