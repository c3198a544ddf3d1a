"""How far confidences can be trusted: `<data>.reliability.*` beside the leaderboard."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmark.formats.markdown import Part, escape_markdown
from benchmark.formats.table_files import write_table_files
from benchmark.metrics.confusion import Floats
from benchmark.metrics.reliability import SURE_NAME, reliability_scores
from benchmark.metrics.summaries import MeanStd, average_top1_last1, format_mean_std, mean_std
from benchmark.records.groups import SeedGroup, comparable_groups
from benchmark.records.reliability import read_reliability
from benchmark.records.selection import Skipped
from usererror import UserError

MEAN = "mean"  # in the column of subsets


class Measure(NamedTuple):
    """A score of `ReliabilityScores` in tables."""

    name: str
    attribute: str
    factor: float = 100.0
    decimals: int = 2


MEASURES = (
    Measure("ECE", "ece"),
    Measure("MCE", "mce"),
    Measure("Brier", "brier", 1.0, 4),
    Measure("wrong and sure", "wrong_and_sure"),
    Measure("label changes", "changed"),
    Measure("right label lost", "lost"),
    Measure("OA", "accuracy"),
    Measure("confidence", "confidence"),
)
NOTE = (
    "Mean +- std over n seeds, best mIoU Average first; the Brier score lies between 0 and 2, the "
    "others are per cent of the scored pixels. ECE and MCE: mean and largest gap between "
    "confidence and accuracy in 15 bins. Wrong and sure: wrong with a confidence above "
    f"{SURE_NAME}. Label changes: another class than with all sensors; right label lost: one that "
    "was right with them. The column mean is over subsets. A dash: no test scene has all sensors "
    "of the subset. Rows without counts of `make reliability` are left out."
)


class ReliabilityRow(NamedTuple):
    """Scores of one method, each `(measures, mean and subsets)`."""

    group: SeedGroup
    scores: MeanStd


def reliability_rows(groups: Sequence[SeedGroup], skipped: Skipped) -> list[ReliabilityRow]:
    """Score the groups that have counts, in their order; what is damaged is skipped with a line."""
    rows = []
    for group in groups:
        members, seeds = [], []
        for record in group.members:
            try:
                counts = read_reliability(record)
            except UserError as error:
                skipped.add(str(error))
                continue
            if counts:
                scores = reliability_scores(counts)
                values = [m.factor * getattr(scores, m.attribute) for m in MEASURES]
                members.append(record)
                seeds.append(_with_mean(np.array(values), record.subsets))
        if members:
            own = replace(group, members=tuple(members))
            rows.append(ReliabilityRow(own, mean_std(np.array(seeds))))
    return rows


def reliability_frame(rows: Sequence[ReliabilityRow]) -> pd.DataFrame:
    """Write one line per method and subset: every measure, mean and std over seeds."""
    lines: list[dict[str, Any]] = []
    for group, (means, stds) in rows:
        for place, subset in enumerate([MEAN, *group.first.subsets]):
            line = {**group.columns(), "subset": subset}
            for number, measure in enumerate(MEASURES):
                line[measure.name] = means[number, place]
                line[f"{measure.name} std"] = stds[number, place]
            lines.append(line)
    return pd.DataFrame(lines)


def format_measure(rows: Sequence[ReliabilityRow], number: int) -> pd.DataFrame:
    """Write a measure as a table of methods and subsets for readers."""
    lines = []
    for group, (means, stds) in rows:
        line = {"method": group.label}
        cells = zip([MEAN, *group.first.subsets], means[number], stds[number], strict=True)
        for name, mean, std in cells:
            line[name] = format_mean_std(mean, std, MEASURES[number].decimals)
        lines.append(line | {"n": str(len(group.members))})
    return pd.DataFrame(lines)


def write_reliability_tables(
    data: str, groups: Sequence[SeedGroup], basis: str, out: Path
) -> list[Path]:
    """Write `<data>.reliability.csv`, `.md` and `.tex`, if any record has counts.

    `basis` says below the tables what was scored; the LaTeX table holds the first measure.
    """
    skipped = Skipped()
    rows = reliability_rows(groups, skipped)
    if not rows:
        return []
    page: list[Part] = [f"# Reliability: {escape_markdown(data)}", NOTE]
    headline = {}
    by_hash = {row.group.group: row for row in rows}
    for title, members in comparable_groups([row.group for row in rows]).items():
        own = [by_hash[group.group] for group in members]
        page.append(f"## Protocol {escape_markdown(title)}")
        for number, measure in enumerate(MEASURES):
            page += [f"### {measure.name}", format_measure(own, number)]
        headline[title] = format_measure(own, 0)
    page.append(escape_markdown(basis))
    note = f"Expected calibration error in per cent (15 bins), mean +- std over n seeds. {basis}"
    csv = {"csv": reliability_frame(rows)}
    return write_table_files(out, f"{data}.reliability", csv, page, headline, note, skipped)


def _with_mean(values: Floats, subsets: Sequence[str]) -> Floats:
    """Put the mean over subsets first."""
    mean = np.asarray(average_top1_last1(values, subsets).average)
    return np.concatenate([mean[:, None], values], 1)
