"""Intervals of the differences between methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis.bootstrap import (
    BLOCKS,
    PRINTED,
    Sampled,
    bounds,
    measures,
    sample,
    with_units,
)
from benchmark.formats.files import write_texts
from benchmark.formats.markdown_latex import Part, page_latex, page_markdown
from benchmark.formats.numbers import format_mean_std
from benchmark.formats.terminal import print_display
from benchmark.leaderboard.notes import left_out_notes
from benchmark.metrics.summaries import SUMMARIES, mean_std
from benchmark.records.groups import SeedGroup, comparable_groups
from benchmark.records.selection import Skipped
from usererror import UserError


def print_summary(title: str, lines: pd.DataFrame) -> None:
    """The summaries of few pairs; of many, how many of them cannot be told apart."""
    pairs = lines[lines["measure"] == SUMMARIES[0]]
    if len(pairs) <= PRINTED:
        print_display(
            f"{title}: differences, {how_drawn(lines)}",
            display(lines[lines["measure"].isin(SUMMARIES)]),
        )
    else:
        alike = (~pairs["separable"]).sum()
        print(
            f"{title}: {alike} of {len(pairs)} pairs are not separable in {SUMMARIES[0]}, {how_drawn(lines)}."
        )


def named_rows(rows: Sequence[SeedGroup], wanted: Sequence[str]) -> list[SeedGroup]:
    """The row of each wanted word: a variant, or the first characters of a group's hash.

    Raises:
        UserError: a word fits no row or several, or the rows may not be compared.
    """
    chosen: list[SeedGroup] = []
    for word in wanted:
        fits = [row for row in rows if row.method == word] or [
            row for row in rows if row.group.startswith(word)
        ]
        if not fits:
            have = ", ".join(sorted({row.method for row in rows}))
            raise UserError(
                f"No record of method {word!r} on this dataset; there are records of: {have}."
            )
        if len(fits) > 1:
            several = ", ".join(f"{row.group[:8]} ({row.label}, {_protocol(row)})" for row in fits)
            raise UserError(f"{word!r} stands for several rows; name one by its group: {several}.")
        chosen += [row for row in fits if row.group not in {entry.group for entry in chosen}]
    if len(chosen) < 2:
        raise UserError("One method cannot be compared; name at least two, as in --methods a,b.")
    if len(apart := comparable_groups(chosen)) > 1:
        kinds = "; ".join(
            f"{title}: {', '.join(row.label for row in members)}"
            for title, members in apart.items()
        )
        raise UserError(
            f"These rows were scored under different protocols and cannot be compared ({kinds})."
        )
    return chosen


def _protocol(row: SeedGroup) -> str:
    return row.protocol


def compare(
    rows: Sequence[SeedGroup],
    samples: int = 2000,
    level: float = 95.0,
    seed: int = 0,
    skipped: Skipped | None = None,
) -> pd.DataFrame:
    """All pairs of rows and all measures: the seeds' means, their difference, its interval, and whether 0 lies outside.

    Rows without counts per scene are left out and named; the table is empty if fewer than two are left. Rows must
    belong to one of `comparable_groups`. Each interval stands for itself: of many, some miss by chance.

    Raises:
        UserError: the records are not paired, or there is only one unit to draw from.
    """
    rows, units = with_units(rows, Skipped() if skipped is None else skipped)
    if len(rows) < 2:
        return pd.DataFrame()
    sampled = sample(rows, units, samples, seed)
    drawn = units[0][0]
    how = {
        "drawn": drawn.kind,
        "units": len(drawn.names),
        "samples": samples,
        "level": level,
        "seed": seed,
    }
    return pd.DataFrame(
        line | how for a, b in combinations(sampled, 2) for line in differences(a, b, level)
    )


def differences(first: Sampled, second: Sampled, level: float) -> list[dict[str, Any]]:
    """One line per measure of a pair."""
    low, high = bounds(first.draws - second.draws, level)
    lines = []
    for column, name in enumerate(measures(first.row)):
        line: dict[str, Any] = {"measure": name}
        for word, entry in (("first", first), ("second", second)):
            values = entry.seeds[:, column]
            line |= {
                word: entry.row.label,
                f"{word} mean": mean_std(values).mean,
                f"{word} std": mean_std(values).std,
            }
            line[f"{word} seeds"] = len(values)
        line["difference"] = line["first mean"] - line["second mean"]
        line |= {"low": float(low[column]), "high": float(high[column])}
        line["separable"] = bool(low[column] > 0 or high[column] < 0)
        line["seeds' spread"] = float(np.hypot(line["first std"], line["second std"]))
        lines.append(line)
    return lines


def display(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines as people read them."""

    def scores(word: str) -> pd.Series:
        columns = (lines[f"{word} {part}"] for part in ("mean", "std", "seeds"))
        texts = [
            f"{format_mean_std(mean, std)} ({n})" for mean, std, n in zip(*columns, strict=True)
        ]
        return pd.Series(texts, lines.index, dtype=object)

    return pd.DataFrame(
        {
            "first": lines["first"],
            "second": lines["second"],
            "measure": lines["measure"],
            "first (n)": scores("first"),
            "second (n)": scores("second"),
            "difference": lines["difference"].map("{:+.2f}".format),
            "interval": [
                f"{low:+.2f} to {high:+.2f}"
                for low, high in zip(lines["low"], lines["high"], strict=True)
            ],
            "verdict": [verdict(line) for line in lines.to_dict("records")],
        }
    )


def verdict(line: Mapping[Any, Any]) -> str:
    """What forbids to call one method better; nothing where scenes and seeds allow it, or seeds cannot tell."""
    if not line["separable"]:
        return "not separable"
    return "within the seeds' spread" if abs(line["difference"]) <= line["seeds' spread"] else ""


def write_intervals(
    directory: Path,
    stem: str,
    title: str,
    tables: Sequence[pd.DataFrame],
    left_out: Sequence[str] = (),
) -> list[Path]:
    """Write `<stem>.csv` (every measure), `<stem>.md` and `<stem>.tex` (the summaries)."""
    parts: list[Part] = [f"# Differences between methods: {title}"]
    for lines in tables:
        summaries = lines[lines["measure"].isin(SUMMARIES)]
        parts += [f"## Protocol {lines['protocol'].iloc[0]}", display(summaries), note(lines)]
    parts += left_out_notes(left_out)
    contents = {
        f"{stem}.csv": pd.concat(tables).to_csv(
            index=False, float_format="%.4f", lineterminator="\n"
        ),
        f"{stem}.md": page_markdown(parts),
        f"{stem}.tex": page_latex(parts),
    }
    return write_texts(directory, contents)


def how_drawn(lines: pd.DataFrame) -> str:
    """Level, kind and number of what was drawn."""
    first = lines.iloc[0]
    return f"{first['level']:g} % intervals over {first['units']} {first['drawn']}"


def note(lines: pd.DataFrame) -> str:
    """What the intervals mean."""
    first = lines.iloc[0]
    blocks = ""
    if first["drawn"] == BLOCKS:
        blocks = " Blocks of one scene resemble each other, so that these intervals are rather too narrow."
    return (
        f"Points of mIoU; mean +- std over (n) seeds; {how_drawn(lines)}, paired bootstrap percentiles of "
        f"{first['samples']} draws from seed {first['seed']}, for the trained networks as they are. Not separable: 0 "
        f"lies inside; within the seeds' spread: the difference is no larger than the root of the sum of both squared "
        f"standard deviations over seeds. Each interval stands for itself; of many, some miss by chance.{blocks}"
    )
