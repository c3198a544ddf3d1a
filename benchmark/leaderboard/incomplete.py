"""What incomplete training costs each method: beside complete training with the same settings.

One method, seeds 0 and 1, whose Average is 60 and 62 after complete training, 57 and 58 where
training scenes lack sensors: the change is -3 and -4, so -3.50 +- 0.71.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.formats.markdown import Part, escape_markdown
from benchmark.formats.table_files import write_table_files
from benchmark.leaderboard.score_rows import ScoreRow
from benchmark.metrics.confusion import Floats
from benchmark.metrics.summaries import SUMMARIES, format_mean_std, mean_std
from benchmark.records.groups import SeedGroup
from benchmark.records.manifest import Manifest
from benchmark.records.overrides import deciding_settings

GAP_OPTIONS = ("gap_rates", "gap_seed")
NOTE = (
    "mIoU in per cent, mean +- std over the n seeds that both trainings have. In incomplete "
    "training each scene lost sensors at the rates of the column gaps (docs/incomplete.md); the "
    "test scenes are the same. Change: incomplete less complete, seed by seed, for the mean over "
    "all subsets and for each; all else that decides numbers is equal."
)


@dataclass(frozen=True)
class TrainingPair:
    """The same seeds of a method after complete and after incomplete training."""

    complete: ScoreRow
    incomplete: ScoreRow

    @cached_property
    def measures(self) -> dict[str, tuple[Floats, Floats]]:
        """Scores `(seeds,)` of both by name: Average, then every subset."""
        before, after = self.complete, self.incomplete
        found = {SUMMARIES[0]: (before.summary.average, after.summary.average)}
        for number, subset in enumerate(before.subsets):
            found[subset] = (before.miou[:, number], after.miou[:, number])
        return found

    @property
    def gaps(self) -> str:
        """The rates as they were set, `0.3` or `rgb 0.1, dsm 0.5`."""
        rates = training_gaps(self.incomplete.group.manifest)
        if isinstance(rates, dict):
            return ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
        return f"{rates:g}"


def training_gaps(manifest: Manifest) -> Any:
    """Return the rates at which training scenes lost sensors, None for complete training."""
    data = manifest.config.get("data", {})
    return data.get("init_args", {}).get(GAP_OPTIONS[0])


def settings_but_gaps(manifest: Manifest) -> str:
    """Write out what decides the numbers of a run, but for its seed and its gaps."""
    settings = deciding_settings(manifest.config)
    settings.pop("seed_everything", None)
    cell = settings.get("cell", {}) | {"protocol": None}
    data = settings.get("data", {}).get("init_args", {}) | dict.fromkeys((*GAP_OPTIONS, "seed"))
    model = settings.get("model", {}).get("init_args", {}) | {"seed": None}
    sections = {**settings, "cell": cell, "data": data, "model": model}
    names = [manifest.variant, manifest.backbone, manifest.revision]
    return json.dumps([names, _without_none(sections)], sort_keys=True)


def _without_none(content: Any) -> Any:
    # an option that there was not yet, as in identities
    if isinstance(content, dict):
        return {key: _without_none(value) for key, value in content.items() if value is not None}
    return content


def pair_trainings(groups: Sequence[SeedGroup]) -> list[TrainingPair]:
    """Find complete beside incomplete training: the seeds that both have, best Average first."""
    complete = {}
    for group in groups:
        if training_gaps(group.manifest) is None:
            complete[settings_but_gaps(group.manifest)] = group
    pairs = []
    for group in groups:
        other = complete.get(settings_but_gaps(group.manifest))
        if other is None or training_gaps(group.manifest) is None:
            continue
        seeds = {one.manifest.seed for one in group.members}
        seeds &= {one.manifest.seed for one in other.members}
        if seeds:
            pairs.append(TrainingPair(*(_score_seeds(one, seeds) for one in (other, group))))
    return sorted(pairs, key=_order)


def _score_seeds(group: SeedGroup, seeds: set[int]) -> ScoreRow:
    members = tuple(one for one in group.members if one.manifest.seed in seeds)
    return ScoreRow.of_group(replace(group, members=members))


def _order(pair: TrainingPair) -> tuple[str, float]:
    row = pair.incomplete
    return row.protocol.name, -np.nan_to_num(row.summary.average.mean(), nan=-np.inf)


def incomplete_frame(pairs: Sequence[TrainingPair]) -> pd.DataFrame:
    """List both scores of each pair and their change, with standard deviations (ddof 1)."""
    lines = []
    for pair in pairs:
        group = pair.incomplete.group
        line = {**group.columns(), "complete": pair.complete.protocol.name, "gaps": pair.gaps}
        for name, (complete, incomplete) in pair.measures.items():
            scores = {"complete": complete, "incomplete": incomplete}
            scores["change"] = incomplete - complete
            for kind, values in scores.items():
                line[f"{name} {kind}"], line[f"{name} {kind} std"] = mean_std(values)
        lines.append(line)
    return pd.DataFrame(lines)


def incomplete_table(pairs: Sequence[TrainingPair]) -> pd.DataFrame:
    """Show the Average of both and the change of every subset as people read them."""
    lines = []
    for pair in pairs:
        group, average = pair.incomplete.group, SUMMARIES[0]
        complete, incomplete = pair.measures[average]
        line = {"method": group.label, "protocol": pair.incomplete.protocol.label}
        line |= {"gaps": pair.gaps}
        line[f"{average}, complete"] = format_mean_std(*mean_std(complete))
        line[f"{average}, incomplete"] = format_mean_std(*mean_std(incomplete))
        for name, (before, after) in pair.measures.items():
            heading = "change" if name == average else f"change {name}"
            line[heading] = format_mean_std(*mean_std(after - before))
        lines.append(line | {"n": str(len(complete))})
    return pd.DataFrame(lines).fillna("-")


def write_incomplete(data: str, groups: Sequence[SeedGroup], out: Path) -> list[Path]:
    """Write `<data>.incomplete.csv`, `.md`, `.tex` where a method has both trainings."""
    pairs = pair_trainings(groups)
    if not pairs:
        return []
    table = incomplete_table(pairs)
    frames = {"csv": incomplete_frame(pairs)}
    page: list[Part] = [table, escape_markdown(NOTE)]
    return write_table_files(out, f"{data}.incomplete", frames, page, {"": table}, NOTE, [])
