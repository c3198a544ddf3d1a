"""What sensors are worth, and what is left when they fail, as plain lists."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.analysis.sensor_value import FAILURES, SensorGames, break_even_table, sensor_games
from benchmark.analysis.shapley import expected_score, shapley_values
from benchmark.metrics.confusion import Floats
from benchmark.metrics.summaries import mean_std
from benchmark.records.groups import SeedGroup
from benchmark.records.selection import Skipped
from benchmark.report.scores import round_for_json

CURVE = np.linspace(0, 1, 51)
PROBABILITIES = np.array([0.0, *FAILURES])


def sensor_values(groups: Sequence[SeedGroup], skipped: Skipped) -> dict[str, Any]:
    """Compute Shapley values, interactions and expected scores; the empty set scores 0.

    `shapley` and `interaction` of a row are classes (mIoU first) x subjects of [mean, std]; `curve`
    and `band` are mean and std of the expected mIoU at every `p`, `expected` at the `failures`.
    """
    methods = sensor_games(groups, skipped)
    if not methods:
        return {}
    ids = {method.group.label: method.group.group for method in methods}
    # the page links rows by their group's hash, since names may repeat across boards
    crossings = []
    for line in break_even_table(methods).to_dict("records"):
        crossing = {"first": ids[line["first"]], "second": ids[line["second"]]}
        crossing |= {"p": round_for_json(line["p"], 4), "miou": round_for_json(line["mIoU"], 2)}
        crossings.append(crossing)
    return {
        "letters": list(methods[0].letters),
        "pairs": methods[0].pairs,
        "classes": methods[0].classes,
        "p": round_for_json(CURVE, 2),
        "failures": PROBABILITIES.tolist(),
        "rows": {method.group.group: _method_values(method) for method in methods},
        "crossings": crossings,
    }


def _method_values(method: SensorGames) -> dict[str, Any]:
    # the std of the scores at every p, not of the coefficients
    curve = mean_std(expected_score(method.miou, CURVE))
    return {
        "shapley": _pair_mean_std(shapley_values(method.games)),
        "interaction": _pair_mean_std(method.interactions()),
        "curve": round_for_json(curve.mean, 4),
        "band": round_for_json(curve.std, 4),
        "expected": _pair_mean_std(expected_score(method.miou, PROBABILITIES)),
    }


def _pair_mean_std(seeds: Floats) -> Any:
    """Turn values `(seeds, ...)` into `(..., 2)`: mean and standard deviation."""
    return round_for_json(np.stack(mean_std(seeds), -1))
