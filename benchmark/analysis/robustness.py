"""Tables of what damaged sensors cost, from the counts that `imss robustness` adds to records.

One method, clean 80, one scenario of two severities that damages two sensors alone and together:

    severity        R     D   R+D    mean
    mild           70    78    68    72
    strong         60    72    48    60      scenario 66, worst case 48 (strong, R+D)

The mean performance under corruption (mPC) is the mean over scenarios of such means, 66 with this
one alone, and the relative performance (rPC) is its share of the clean score, 82.5 per cent
(Michaelis et al. 2019).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis.sensor_value import FAILURES
from benchmark.analysis.shapley import as_game, expected_score, subset_bitmasks
from benchmark.formats.markdown import Part, escape_markdown
from benchmark.formats.table_files import Written, write_table_files
from benchmark.metrics.confusion import Floats
from benchmark.metrics.result import ALL
from benchmark.metrics.subsets import damage_case
from benchmark.metrics.summaries import format_mean_std, mean_std
from benchmark.records.damage import ABSENCE, Damage, DamagedCounts, read_damage
from benchmark.records.groups import SeedGroup, comparable_groups, seed_groups
from benchmark.records.record import Record
from benchmark.records.selection import RecordSelection, Skipped
from usererror import UserError

DROP, ZERO = "drop", "zero_normalised"
NOTE = (
    "mIoU in per cent while all sensors are at hand and some are damaged, mean +- std over n "
    "seeds. A scenario is the mean over its severities, each the mean over the sets of sensors "
    "that are damaged together; a group is the mean over its scenarios, mPC that over all "
    "scenarios, and rPC its share of the clean score in per cent. Worst: the lowest of all cases."
)
ABSENCE_NOTE = (
    "Average over all subsets in per cent, and in brackets the rank, when what is missing is left "
    "out (drop, as in the leaderboard) and when an image stands for it; E(p): expected mIoU under "
    "zero_normalised when each sensor fails independently with probability p and one is left."
)


@dataclass(frozen=True)
class DamagedGroup:
    """The seeds of one method under the scenarios that all of them were scored under."""

    group: SeedGroup
    records: Sequence[Record]  # of the seeds that were scored under damage
    clean: Floats  # `(seeds,)`
    scores: Mapping[Damage, Floats]  # `(seeds, severities, sets)`
    sets: Mapping[Damage, tuple[str, ...]]

    @cached_property
    def means(self) -> dict[Damage, Floats]:
        """The score of each scenario but those of absence, `(seeds,)`."""
        found = {}
        for damage, scores in self.scores.items():
            if damage.group != ABSENCE:
                found[damage] = scores.mean((1, 2))
        return found

    @property
    def worst(self) -> tuple[Floats, str]:
        """The lowest of all cases in the mean over seeds, by seed, and its name."""
        cases = {}
        for damage in self.means:
            scores = self.scores[damage]
            for row, severity in enumerate(damage.severities):
                for column, letters in enumerate(self.sets[damage]):
                    name = f"{damage.name} {damage_case(severity, letters)}"
                    cases[name] = scores[:, row, column]
        name = min(cases, key=lambda case: float(cases[case].mean()))
        return cases[name], name


def damaged_groups(groups: Sequence[SeedGroup], skipped: Skipped) -> list[DamagedGroup]:
    """Read what the groups were scored under; scenarios of another definition are left out.

    Of the definitions of one scenario the one with the highest version counts, of equal ones that
    of most groups.
    """
    counts: dict[str, list[dict[str, DamagedCounts]]] = {}
    for group in groups:
        try:
            members = [{one.damage.name: one for one in read_damage(r)} for r in group.members]
        except UserError as error:
            skipped.add(str(error))
            continue
        # seeds that were scored under damage at all: `n` says how many
        if scored := [found for found in members if found]:
            counts[group.group] = scored
    definitions: dict[str, list[Damage]] = {}
    for members in counts.values():
        for found in members:
            for name, one in found.items():
                definitions.setdefault(name, []).append(one.damage)
    newest = {}
    for name, listed in definitions.items():
        newest[name] = max(listed, key=lambda one: (one.version, listed.count(one)))
    damaged = []
    for group in groups:
        members = counts.get(group.group, [])
        scores: dict[Damage, Floats] = {}
        sets = {}
        clean = np.full(len(members), np.nan)
        for name, damage in sorted(newest.items()):
            own = [found[name] for found in members if name in found]
            if not own:
                continue
            if len(own) < len(members) or any(one.damage != damage for one in own):
                reason = "not all seeds were scored under its newest definition"
                skipped.add(f"{group.label} under {name}: {reason}.")
                continue
            pairs = [one.miou() for one in own]
            clean = np.array([first for first, _ in pairs])
            scores[damage] = np.stack([second for _, second in pairs])
            sets[damage] = own[0].sets
        if scores:
            records = [next(iter(found.values())).record for found in members]
            damaged.append(DamagedGroup(group, records, clean, scores, sets))
    return damaged


def robustness_frame(rows: Sequence[DamagedGroup]) -> pd.DataFrame:
    """List every case in long form, in per cent."""
    lines = []
    for row in rows:
        for damage, scores in row.scores.items():
            about: dict[str, Any] = {
                "scenario": damage.name,
                "version": damage.version,
                "group": damage.group,
            }
            about["seeds"] = len(scores)
            for number, severity in enumerate(damage.severities):
                for place, letters in enumerate(row.sets[damage]):
                    mean, std = mean_std(scores[:, number, place])
                    line = {**row.group.columns(), **about}
                    line |= {"severity": severity, "damaged": letters, "mIoU": mean, "std": std}
                    lines.append(line | {"clean": row.clean.mean(), "draws": damage.seed})
    return pd.DataFrame(lines)


def summary_table(rows: Sequence[DamagedGroup]) -> pd.DataFrame:
    """Show clean score, groups of scenarios, mPC, rPC and the worst case; best mPC first."""
    every = dict.fromkeys(damage for row in rows for damage in row.means)
    lines = []
    for row in sorted(rows, key=lambda one: -_mean_of(one, every).mean()):
        line = {"method": row.group.label, "clean": _format(row.clean)}
        for name in dict.fromkeys(damage.group for damage in every):
            wanted = [damage for damage in every if damage.group == name]
            line[name] = _format(_mean_of(row, wanted))
        whole = _mean_of(row, every)
        line |= {"mPC": _format(whole), "rPC": _format(100 * whole / row.clean)}
        worst, case = row.worst
        lines.append(line | {"worst": f"{_format(worst)} ({case})", "n": str(len(row.clean))})
    return pd.DataFrame(lines)


def scenario_table(rows: Sequence[DamagedGroup], group: str) -> pd.DataFrame:
    """Show each scenario of a group, and what it costs at its mildest and its strongest."""
    every = dict.fromkeys(d for row in rows for d in row.scores if d.group == group)
    lines = []
    for row in rows:
        for damage in every:
            if damage not in row.scores:
                continue
            by_severity = row.scores[damage].mean(2)
            line = {"method": row.group.label, "scenario": damage.name}
            line["mean"] = _format(by_severity.mean(1))
            mildest, strongest = damage.severities[0], damage.severities[-1]
            line["mildest"] = f"{_format(by_severity[:, 0])} ({mildest})"
            line["strongest"] = f"{_format(by_severity[:, -1])} ({strongest})"
            lines.append(line | {"n": str(len(by_severity))})
    table = pd.DataFrame(lines)
    return table.sort_values("scenario", kind="stable") if len(table) else table


def absence_table(rows: Sequence[DamagedGroup]) -> pd.DataFrame:
    """Show Average and rank under each way to present what is missing; empty without any."""
    averages: dict[str, dict[str, Floats]] = {}
    expected: dict[str, dict[str, str]] = {}
    for row in rows:
        games = {
            damage.name: _game(row, damage) for damage in row.scores if damage.group == ABSENCE
        }
        if not games:
            continue
        # nan where the network does not see all subsets
        dropped = [_subset_scores(record) for record in row.records]
        averages.setdefault(DROP, {})[row.group.label] = np.mean(dropped, axis=1)
        for name, game in games.items():
            averages.setdefault(name, {})[row.group.label] = game[:, 1:].mean(1)
            if name == ZERO:
                values = expected_score(game, np.array(FAILURES))
                cells = zip(FAILURES, values.T, strict=True)
                expected[row.group.label] = {f"E({p:g})": _format(seeds) for p, seeds in cells}
    table: dict[str, dict[str, str]] = {}
    for name, by_label in averages.items():
        means = {label: np.nan_to_num(by_label[label].mean(), nan=-np.inf) for label in by_label}
        for rank, label in enumerate(sorted(means, key=lambda one: -means[one]), start=1):
            cell = _format(by_label[label])
            ranked = cell if np.isinf(means[label]) else f"{cell} ({rank})"
            table.setdefault(label, {"method": label})[name] = ranked
    return pd.DataFrame([{**line, **expected.get(label, {})} for label, line in table.items()])


def condition_table(rows: Sequence[DamagedGroup]) -> pd.DataFrame:
    """Show the score of all sensors per condition, such as the weather; empty without any."""
    lines = []
    for row in rows:
        line = {"method": row.group.label}
        for name in row.group.first.conditions:
            if name != ALL:
                by_seed = [100 * list(one.scores(name).values())[-1].miou for one in row.records]
                line[name] = _format(np.array(by_seed))
        if len(line) > 1:
            lines.append(line)
    return pd.DataFrame(lines)


def _subset_scores(record: Record) -> list[float]:
    return [100 * entry.miou for entry in record.scores().values()]


def _game(row: DamagedGroup, damage: Damage) -> Floats:
    """Arrange scores by the sensors that are left, `(seeds, 2^M)`, 0 without any."""
    subsets = row.group.first.subsets
    letters = subsets[-1].split("+")
    scores = []
    for subset in subsets:
        absent = "+".join(one for one in letters if one not in subset.split("+"))
        place = row.sets[damage].index(absent) if absent else -1
        scores.append(row.scores[damage][:, 0, place] if absent else row.clean)
    _, masks = subset_bitmasks(subsets)
    return as_game(np.stack(scores, axis=-1), masks)


def _mean_of(row: DamagedGroup, wanted: Sequence[Damage] | Mapping[Damage, Any]) -> Floats:
    """Average scenarios, `(seeds,)`; nan where the row lacks one of them."""
    lacking = np.full(len(row.clean), np.nan)
    return np.mean([row.means.get(damage, lacking) for damage in wanted], axis=0)


def _format(seeds: Floats) -> str:
    return format_mean_std(*mean_std(seeds))


def write_robustness(out: Path, data: str, selection: RecordSelection) -> Written:
    """Write `<data>.robustness.csv` (a case a line), `.md` and `.tex`; nothing without any."""
    skipped = Skipped(selection.skipped)
    page: list[Part] = [f"# When sensors are damaged: {escape_markdown(data)}"]
    frames, headline = [], {}
    for title, groups in comparable_groups(seed_groups(selection.records)).items():
        rows = damaged_groups(groups, skipped)
        if not rows:
            continue
        frames.append(robustness_frame(rows))
        page.append(f"## Protocol {escape_markdown(title)}")
        absence = absence_table(rows)
        if any(row.means for row in rows):
            headline[title] = summary_table([row for row in rows if row.means])
            page += [headline[title], NOTE]
        else:
            headline[title] = absence
        if len(absence):
            page += ["### What stands for a missing sensor", absence, ABSENCE_NOTE]
        if len(conditions := condition_table(rows)):
            page += ["### Conditions of the test scenes, all sensors", conditions]
        for name in dict.fromkeys(damage.group for row in rows for damage in row.means):
            page += [f"### {name.capitalize()}", scenario_table(rows, name)]
    if not headline:
        return [], {}
    csv = {"csv": pd.concat(frames)}
    stem = f"{data}.robustness"
    paths = write_table_files(out, stem, csv, page, headline, NOTE, skipped)
    heading = "mIoU in per cent under damage"
    return paths, {f"{data}, {title}: {heading}": table for title, table in headline.items()}
