"""Intervals over test scenes for a board: of each row, and of the difference of each pair."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, compress
from typing import Any

from benchmark.analysis.bootstrap import bounds, measures, sample, with_units
from benchmark.analysis.comparison import differences, verdict
from benchmark.metrics.summaries import SUMMARIES
from benchmark.records.groups import SeedGroup
from benchmark.records.record import SCENES
from benchmark.records.selection import Skipped
from benchmark.report.scores import rounded
from usererror import UserError

LEVEL, SEED = 95.0, 0  # as `make compare` has them


def chance(rows: Sequence[SeedGroup], samples: int, skipped: Skipped) -> dict[str, Any]:
    """Bootstrap percentiles, see `benchmark.analysis.bootstrap`.

    A row takes part if all its seeds have counts per scene: the interval must be one of the means beside it.
    `skipped` gains a sentence for each record whose counts per scene are damaged.

    Returns:
        `rows`: {group: {measure: [low, high]}} of the rows that have counts per scene, `pairs`: one line per pair and
        summary, `how`: what was drawn; empty of rows and with a `reason` where there can be none.
    """
    nothing = {"rows": {}, "pairs": [], "how": ""}
    if not samples:
        return nothing | {"reason": "The report was made without intervals (--samples 0)."}
    whole = [row for row in rows if all((record.path / SCENES).exists() for record in row.members)]
    kept, units = with_units(whole, skipped)
    seeds = {row.group: len(row.members) for row in rows}
    complete = [
        len(row.members) == seeds[row.group] for row in kept
    ]  # a damaged seed has been named
    kept, units = list(compress(kept, complete)), list(compress(units, complete))
    if not kept:
        return nothing | {
            "reason": "Intervals need counts per scene of every seed. Published records are slim; your own have them."
        }
    try:
        sampled = sample(kept, units, samples, SEED)
    except UserError as error:
        return nothing | {"reason": str(error)}
    drawn = units[0][0]
    single = {}
    for entry in sampled:
        low, high = rounded(bounds(entry.draws, LEVEL), 2)
        single[entry.row.group] = dict(
            zip(measures(entry.row), zip(low, high, strict=True), strict=True)
        )
    pairs = []
    for first, second in combinations(sampled, 2):
        for line in differences(first, second, LEVEL)[: len(SUMMARIES)]:
            pairs.append(
                {
                    "first": first.row.group,
                    "second": second.row.group,
                    "measure": line["measure"],
                    **{name: rounded(line[name], 2) for name in ("difference", "low", "high")},
                    "verdict": verdict(line),
                }
            )
    slim = len(rows) - len(kept)
    how = f"{LEVEL:g} % bootstrap intervals over {len(drawn.names)} test {drawn.kind}, {samples} draws, seeds averaged"
    how += (
        f"; {slim} methods lack counts per scene of some seed (published records are slim)"
        if slim
        else ""
    )
    return {"rows": single, "pairs": pairs, "how": how, "reason": ""}
