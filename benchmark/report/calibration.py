"""How far confidences can be trusted, as plain lists; empty where no record has such counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.leaderboard.reliability import MEAN, MEASURES, reliability_rows
from benchmark.metrics.confusion import Floats, divide_or_nan
from benchmark.metrics.reliability import UNIT
from benchmark.records.groups import SeedGroup
from benchmark.records.reliability import read_reliability
from benchmark.records.selection import Skipped
from benchmark.report.scores import round_for_json


def calibration_scores(groups: Sequence[SeedGroup], skipped: Skipped) -> dict[str, Any]:
    """List every measure of the tables of reliability, and the bins of the diagrams.

    Of a row `scores` is `(measures, columns, 2)`, mean and std over `seeds` seeds; `bins`
    `(subsets, 3, bins)`: share of the pixels, accuracy and mean confidence in all of its seeds.
    """
    rows = {}
    columns: list[str] = []
    for group, scores in reliability_rows(groups, skipped):
        columns = columns or [MEAN, *group.first.subsets]
        rows[group.group] = {
            "seeds": len(group.members),
            "scores": round_for_json(np.stack(scores, -1), 5),
            "bins": round_for_json(_pooled_bins(group), 4),
        }
    measures = [{"name": one.name, "digits": one.decimals} for one in MEASURES]
    return {"measures": measures, "columns": columns, "rows": rows} if rows else {}


def _pooled_bins(group: SeedGroup) -> Floats:
    """Sum the bins of all seeds, which speak of the same pixels."""
    found = [counts for counts in map(read_reliability, group.members) if counts]
    pixels = np.sum([counts.pixels for counts in found], 0)
    hits = np.sum([counts.hits for counts in found], 0)
    confidence = np.sum([counts.confidence for counts in found], 0) * UNIT
    share = divide_or_nan(pixels, pixels.sum(1, keepdims=True))
    means = divide_or_nan(hits, pixels), divide_or_nan(confidence, pixels)
    return np.stack([share, *means], 1)
