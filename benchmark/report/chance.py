"""Intervals over test scenes for a board: of each row, and of the difference of each pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from benchmark.intervals import bounds, differences, measures, sample, verdict, with_units
from benchmark.leaderboard import SUMMARIES
from benchmark.records import SCENES, Record
from benchmark.report.scores import rounded
from benchmark.rows import Row
from usererror import UserError

LEVEL, SEED = 95.0, 0  # as `make compare` has them


def chance(rows: Sequence[Row], samples: int) -> dict[str, Any]:
    """Bootstrap percentiles, see `benchmark.intervals`.

    Returns:
        `rows`: {group: {measure: [low, high]}} of the rows that have counts per scene, `pairs`: one line per pair and
        summary, `how`: what was drawn; empty of rows and with a `reason` where there can be none.
    """
    nothing = {"rows": {}, "pairs": [], "how": ""}
    if not samples:
        return nothing | {"reason": "The report was made without intervals (--samples 0)."}
    whole = [replace(row, members=tuple(record for record in row.members if _has_scenes(record))) for row in rows]
    kept, units = with_units([row for row in whole if row.members])
    if not kept:
        return nothing | {
            "reason": "Intervals need counts per scene. Published records are slim; runs of your own have them."
        }
    try:
        sampled = sample(kept, units, samples, SEED)
    except UserError as error:
        return nothing | {"reason": str(error)}
    drawn = units[0][0]
    single = {}
    for entry in sampled:
        low, high = rounded(bounds(entry.draws, LEVEL), 2)
        single[entry.row.group] = dict(zip(measures(entry.row), zip(low, high, strict=True), strict=True))
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
    how += f"; {slim} rows have no counts per scene" if slim else ""
    return {"rows": single, "pairs": pairs, "how": how, "reason": ""}


def _has_scenes(record: Record) -> bool:
    """Published records are slim, which is no defect to be named one by one."""
    return (record.path / SCENES).exists()
