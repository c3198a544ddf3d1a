"""Intervals over test scenes for a board: of each row, and of the difference of each pair."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from benchmark.analysis import bootstrap
from benchmark.analysis.comparison import BootstrapOptions, compare_samples, judge_difference
from benchmark.metrics.summaries import SUMMARIES
from benchmark.records.groups import SeedGroup
from benchmark.records.record import SCENES
from benchmark.records.selection import Skipped
from benchmark.report.scores import round_for_json
from usererror import UserError


def bootstrap_intervals(
    groups: Sequence[SeedGroup], options: BootstrapOptions | None, skipped: Skipped
) -> dict[str, Any]:
    """Compute bootstrap percentiles as `make compare` does, see `benchmark.analysis.bootstrap`.

    `rows` is {group: {measure: [low, high]}} of the rows that have counts per scene, `pairs` one
    line per pair and summary, `how` what was drawn, `reason` why there are none.
    """
    nothing = {"rows": {}, "pairs": [], "how": ""}
    if options is None:
        return nothing | {"reason": "The report was made without intervals (--samples 0)."}
    # only rows of which all seeds have counts: the interval must be one of the means beside it
    whole = []
    for group in groups:
        if all((record.path / SCENES).exists() for record in group.members):
            whole.append(group)
    seeds = {group.group: len(group.members) for group in whole}
    read = bootstrap.read_units(whole, skipped)
    kept = [entry for entry in read if len(entry.units) == seeds[entry.group.group]]
    if not kept:
        reason = "Intervals need counts per scene of every seed."
        return nothing | {"reason": f"{reason} Older published records have none."}
    try:
        sampled = bootstrap.bootstrap_groups(kept, options.samples, options.seed)
    except UserError as error:
        return nothing | {"reason": str(error)}
    rows = {}
    for entry in sampled:
        bounds = bootstrap.percentile_bounds(entry.draws, options.level)
        found = {}
        for name, ends in zip(bootstrap.measure_names(entry.group), bounds.T, strict=True):
            # what has no score has no interval
            if not np.isnan(ends).any():
                found[name] = round_for_json(ends, 2)
        rows[entry.group.group] = found
    # only the summaries: all measures of all pairs would be most of the page
    pairs = []
    for first, second in combinations(sampled, 2):
        for line in compare_samples(first, second, options.level)[: len(SUMMARIES)]:
            if np.isnan(line["difference"]):
                continue
            pair = {"first": first.group.group, "second": second.group.group}
            pair |= {"measure": line["measure"], "verdict": judge_difference(line)}
            for name in ("difference", "low", "high"):
                pair[name] = round_for_json(line[name], 2)
            pairs.append(pair)
    drawn = kept[0].units[0]
    how = f"{options.level:g} % bootstrap intervals over {len(drawn.names)} test {drawn.kind}"
    how += f", {options.samples} draws, seeds averaged"
    if slim := len(groups) - len(kept):
        how += f"; {slim} methods lack counts per scene of some seed (older published records)"
    return {"rows": rows, "pairs": pairs, "how": how, "reason": ""}
