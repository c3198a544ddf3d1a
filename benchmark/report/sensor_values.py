"""What sensors are worth, and what is left when they fail: `benchmark.analysis.sensor_value` as plain lists."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from benchmark.analysis.sensor_value import (
    FAILURES,
    class_names,
    complete_rows,
    crossing_table,
    row_games,
)
from benchmark.analysis.shapley import (
    expected_score,
    shapley_interactions,
    shapley_values,
    subset_bitmasks,
)
from benchmark.metrics.confusion import Floats
from benchmark.metrics.summaries import mean_std
from benchmark.records.groups import SeedGroup
from benchmark.records.selection import Skipped
from benchmark.report.scores import rounded

CURVE = np.linspace(0, 1, 51)


def sensors(rows: Sequence[SeedGroup], skipped: Skipped) -> dict[str, Any]:
    """Shapley values, interactions and expected scores of the rows of one board; the empty set scores 0.

    `skipped` gains a sentence for each row that lacks a score.

    Returns:
        `letters`, `pairs`, `classes` (mIoU first), `p` (failure probabilities of the curves), `failures` (those of the
        table), `rows`: {group: {`shapley`, `interaction`: classes x subjects of [mean, std], `curve`, `band`: mean and
        std of the expected mIoU at every p, `expected`: [mean, std] at the published probabilities}}, `crossings`.
        Empty without a row that has a score of every subset.
    """
    kept = complete_rows(rows, skipped)
    if not kept:
        return {}
    letters, _ = subset_bitmasks(kept[0].first.subsets)
    pairs = list(combinations(range(len(letters)), 2))
    names = {row.label: row.group for row in kept}
    met = crossing_table(kept).to_dict("records")
    return {
        "letters": list(letters),
        "pairs": [f"{letters[a]} x {letters[b]}" for a, b in pairs],
        "classes": class_names(kept[0]),
        "p": rounded(CURVE, 2),
        "failures": [0.0, *FAILURES],
        "rows": {row.group: _row(row, pairs) for row in kept},
        "crossings": [
            {
                "first": names[line["first"]],
                "second": names[line["second"]],
                "p": rounded(line["p"], 4),
                "miou": rounded(line["mIoU"], 2),
            }
            for line in met
        ],
    }


def _row(row: SeedGroup, pairs: Sequence[tuple[int, int]]) -> dict[str, Any]:
    games = row_games(row, "zero")  # seeds x (1 + classes) x 2^M
    index = shapley_interactions(games)
    both = (
        np.stack([index[..., a, b] for a, b in pairs], -1)
        if pairs
        else np.empty((*games.shape[:-1], 0))
    )
    curves = expected_score(games[:, 0], CURVE)  # seeds x p
    return {
        "shapley": [_spreads(values.T) for values in shapley_values(games).transpose(1, 0, 2)],
        "interaction": [_spreads(values.T) for values in both.transpose(1, 0, 2)],
        "curve": rounded(curves.mean(0), 4),
        "band": rounded(mean_std(curves).std, 4),
        "expected": _spreads(expected_score(games[:, 0], np.array([0.0, *FAILURES])).T),
    }


def _spreads(values: Floats) -> Any:
    """Subjects x seeds -> subjects x [mean, std]."""
    return [rounded(mean_std(seeds)) for seeds in values]
