"""`imss compare`: how far apart two methods are, and whether the test scenes can tell, from run records.

Paired bootstrap over scenes: scenes are drawn with replacement, the same ones for every method, their counts are added
and scored as the table scores the whole test set. The interval holds the middle LEVEL per cent of the differences
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). It speaks of the choice of test scenes only;
what another seed would do stands beside it, as mean and standard deviation over seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.formats.files import write_texts
from benchmark.formats.markdown_latex import Part, page_latex, page_markdown
from benchmark.leaderboard.table import SUMMARIES, deviation
from benchmark.leaderboard.write import chosen_records, left_out_notes, print_display, say_left_out
from benchmark.metrics.confusion import Counts, Floats, class_sums
from benchmark.records.groups import Row, headline_scores, mean_scores, region_counts, rows_of, sections
from benchmark.records.record import Record, SceneCounts, read_scenes
from usererror import UserError

FEWEST_SCENES = 10  # below this, blocks of the scenes are drawn: few scenes give few different draws
CHUNK = 2**23  # entries of the largest array of resampled sums, 64 MiB
PRINTED = 50  # pairs that a terminal has room for
SCENES, BLOCKS = "scenes", "blocks"


@dataclass(frozen=True)
class Units:
    """What is drawn: scenes, or blocks of scenes.

    Attributes:
        kind: `scenes` or `blocks`.
        sums: per unit, units x subsets x 3 x averaged classes, see `metrics.class_sums`.
        names: per unit, to check that two records are paired.
    """

    kind: str
    sums: Counts
    names: tuple[str, ...]


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Compare the named methods, or all, of one dataset, or of all that have records."""
    if arguments.samples < 100:
        raise UserError(f"--samples {arguments.samples} is too few for an interval; use at least 100.")
    if not 0 < arguments.level < 100:
        raise UserError(f"--level {arguments.level:g} is no percentage of an interval; use one such as 95.")
    out, wanted = Path(arguments.out).expanduser(), [word for word in arguments.methods.split(",") if word]
    for data, choice in chosen_records(Path(arguments.runs).expanduser(), arguments.data).items():
        rows, left_out = rows_of(choice.records), list(choice.left_out)
        if wanted:
            rows = named_rows(rows, wanted)
        tables = []
        for title, members in sections(rows).items():
            lines = compare(members, arguments.samples, arguments.level, arguments.seed, left_out)
            if lines.empty:
                print(f"Nothing to compare under {data}, {title}: fewer than two methods have counts per scene.")
                continue
            tables.append(lines.assign(protocol=title))
            print_summary(f"{data}, {title}", lines)
        if tables:
            # a comparison of some leaves that of all as it is
            paths = write_intervals(out, ".".join([data, *wanted]), data, tables, left_out)
            print("Intervals: " + ", ".join(str(path) for path in paths))
        elif wanted:
            raise UserError(
                f"{' and '.join(wanted)} cannot be compared: counts per scene are needed of two; run again."
            )


def print_summary(title: str, lines: pd.DataFrame) -> None:
    """The summaries of few pairs; of many, how many of them cannot be told apart."""
    pairs = lines[lines["measure"] == SUMMARIES[0]]
    if len(pairs) <= PRINTED:
        print_display(f"{title}: differences, {how_drawn(lines)}", display(lines[lines["measure"].isin(SUMMARIES)]))
    else:
        alike = (~pairs["separable"]).sum()
        print(f"{title}: {alike} of {len(pairs)} pairs are not separable in {SUMMARIES[0]}, {how_drawn(lines)}.")


def named_rows(rows: Sequence[Row], wanted: Sequence[str]) -> list[Row]:
    """The row of each wanted word: a variant, or the first characters of a group's hash.

    Raises:
        UserError: a word fits no row or several, or the rows may not be compared.
    """
    chosen: list[Row] = []
    for word in wanted:
        fits = [row for row in rows if row.method == word] or [row for row in rows if row.group.startswith(word)]
        if not fits:
            have = ", ".join(sorted({row.method for row in rows}))
            raise UserError(f"No record of method {word!r} on this dataset; there are records of: {have}.")
        if len(fits) > 1:
            several = ", ".join(f"{row.group[:8]} ({row.label}, {_protocol(row)})" for row in fits)
            raise UserError(f"{word!r} stands for several rows; name one by its group: {several}.")
        chosen += [row for row in fits if row.group not in {entry.group for entry in chosen}]
    if len(chosen) < 2:
        raise UserError("One method cannot be compared; name at least two, as in --methods a,b.")
    if len(apart := sections(chosen)) > 1:
        kinds = "; ".join(f"{title}: {', '.join(row.label for row in members)}" for title, members in apart.items())
        raise UserError(f"These rows were scored under different protocols and cannot be compared ({kinds}).")
    return chosen


def _protocol(row: Row) -> str:
    return str(row.first.manifest["protocol"]["name"])


def units_of(record: Record, scenes: SceneCounts) -> Units:
    """Scenes, or blocks of scenes where there are fewer than FEWEST_SCENES; without a labelled pixel they do not count.

    Blocks of one scene resemble each other more than scenes do, so that intervals from them are rather too narrow.
    """
    regions = record.manifest["convention"]["regions"]
    parts = [
        class_sums(region_counts(record, np.moveaxis(entry, 1, 0).astype(np.int64), regions), record.convention)
        for entry in scenes.counts  # blocks x subsets x 3 x classes
    ]
    whole = np.stack([entry.sum(0) for entry in parts])
    kind = SCENES if whole[:, :, 1].any((1, 2)).sum() >= FEWEST_SCENES else BLOCKS
    sums = whole if kind == SCENES else np.concatenate(parts)
    names = [
        name if kind == SCENES else f"{name}/{block}"
        for name, entry in zip(scenes.scenes, parts, strict=True)
        for block in range(1 if kind == SCENES else len(entry))
    ]
    labelled = np.asarray(sums[:, :, 1].any((1, 2)))
    return Units(kind, sums[labelled], tuple(name for name, keep in zip(names, labelled, strict=True) if keep))


def check_paired(rows: Sequence[Row], units: Sequence[Sequence[Units]]) -> None:
    """Raise a UserError unless all records have the same units with the same true pixels."""
    first = units[0][0]
    for row, members in zip(rows, units, strict=True):
        for record, entry in zip(row.members, members, strict=True):
            same = entry.names == first.names and np.array_equal(entry.sums[:, :, 1], first.sums[:, :, 1])
            if not same:
                raise UserError(
                    f"{record.path} was scored on other scenes, blocks or labels than {rows[0].first.path}, though the "
                    "fingerprints agree; run its cell again with FORCE=1."
                )


def draws(units: int, samples: int, seed: int) -> Counts:
    """How often each unit is drawn, samples x units; every row sums to `units`."""
    return np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), samples)


def measures(row: Row) -> list[str]:
    """Names of the columns of `measure_values`."""
    return [*SUMMARIES, "Average mF1", *(f"mIoU {name}" for name in row.first.subsets)]


def measure_values(record: Record, sums: Counts) -> Floats:
    """... x measures in per cent, from ... x subsets x 3 x averaged classes."""
    miou, mf1 = mean_scores(sums, record.convention)
    return np.concatenate([headline_scores(miou), headline_scores(mf1)[..., :1], miou], -1)


def resampled(record: Record, units: Units, weights: Counts) -> Floats:
    """The measures under every draw, samples x measures, in pieces that fit into memory."""
    flat = units.sums.reshape(len(units.sums), -1).astype(float)  # exact below 2^53 pixels, and float products are fast
    step = max(1, CHUNK // flat.shape[1])
    pieces = [
        measure_values(record, (weights[start : start + step] @ flat).reshape(-1, *units.sums.shape[1:]))
        for start in range(0, len(weights), step)
    ]
    return np.concatenate(pieces)


def bounds(values: Floats, level: float) -> Floats:
    """Bounds of the middle `level` per cent of each column, 2 x columns; draws without a score (nan) do not count."""
    tail = (100 - level) / 2
    if not np.isnan(values).any():
        return np.asarray(np.percentile(values, [tail, 100 - tail], axis=0))
    columns = [column[~np.isnan(column)] for column in values.T]
    return np.array(
        [np.percentile(column, [tail, 100 - tail]) if len(column) else [np.nan, np.nan] for column in columns]
    ).T


@dataclass(frozen=True)
class Sampled:
    """The measures of one row.

    Attributes:
        row: whose.
        seeds: over all units, seeds x measures, per cent.
        draws: the mean of the seeds under every draw, samples x measures, per cent.
    """

    row: Row
    seeds: Floats
    draws: Floats


def compare(
    rows: Sequence[Row],
    samples: int = 2000,
    level: float = 95.0,
    seed: int = 0,
    left_out: list[str] | None = None,
) -> pd.DataFrame:
    """All pairs of rows and all measures: the seeds' means, their difference, its interval, and whether 0 lies outside.

    Rows without counts per scene are left out and named; the table is empty if fewer than two are left. Rows must
    belong to one of `rows.sections`. Each interval stands for itself: of many, some miss by chance.

    Raises:
        UserError: the records are not paired, or there is only one unit to draw from.
    """
    rows, units = with_units(rows, left_out)
    if len(rows) < 2:
        return pd.DataFrame()
    sampled = sample(rows, units, samples, seed)
    drawn = units[0][0]
    how = {"drawn": drawn.kind, "units": len(drawn.names), "samples": samples, "level": level, "seed": seed}
    return pd.DataFrame(line | how for a, b in combinations(sampled, 2) for line in differences(a, b, level))


def sample(rows: Sequence[Row], units: Sequence[Sequence[Units]], samples: int, seed: int) -> list[Sampled]:
    """The measures of rows with the units of their members (see `with_units`), under the same draws for all.

    Raises:
        UserError: the records are not paired, or there is only one unit to draw from.
    """
    check_paired(rows, units)
    drawn = units[0][0]
    if len(drawn.names) < 2:
        raise UserError(f"There is a single {drawn.kind[:-1]} with labels; an interval needs at least two.")
    weights = draws(len(drawn.names), samples, seed)
    sampled = []
    for row, members in zip(rows, units, strict=True):
        pairs = list(zip(row.members, members, strict=True))
        seeds = np.array([measure_values(record, entry.sums.sum(0)) for record, entry in pairs])
        spread = np.mean([resampled(record, entry, weights) for record, entry in pairs], axis=0)
        sampled.append(Sampled(row, seeds, spread))
    return sampled


def with_units(rows: Sequence[Row], left_out: list[str] | None = None) -> tuple[list[Row], list[list[Units]]]:
    """Rows with the units of their members; a record without usable counts per scene is left out and named."""
    kept, units = [], []
    for row in rows:
        members = []
        for record in row.members:
            try:
                members.append((record, units_of(record, read_scenes(record))))
            except UserError as error:
                say_left_out(str(error), left_out)
        if members:
            kept.append(replace(row, members=tuple(record for record, _ in members)))
            units.append([entry for _, entry in members])
    return kept, units


def differences(first: Sampled, second: Sampled, level: float) -> list[dict[str, Any]]:
    """One line per measure of a pair."""
    low, high = bounds(first.draws - second.draws, level)
    lines = []
    for column, name in enumerate(measures(first.row)):
        line: dict[str, Any] = {"measure": name}
        for word, entry in (("first", first), ("second", second)):
            values = entry.seeds[:, column]
            line |= {word: entry.row.label, f"{word} mean": float(values.mean()), f"{word} std": deviation(values)}
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
        std = lines[f"{word} std"].map(lambda value: "" if np.isnan(value) else f" +- {value:.2f}")
        return lines[f"{word} mean"].map("{:.2f}".format) + std + " (" + lines[f"{word} seeds"].astype(str) + ")"

    return pd.DataFrame(
        {
            "first": lines["first"],
            "second": lines["second"],
            "measure": lines["measure"],
            "first (n)": scores("first"),
            "second (n)": scores("second"),
            "difference": lines["difference"].map("{:+.2f}".format),
            "interval": [f"{low:+.2f} to {high:+.2f}" for low, high in zip(lines["low"], lines["high"], strict=True)],
            "verdict": [verdict(line) for line in lines.to_dict("records")],
        }
    )


def verdict(line: Mapping[Any, Any]) -> str:
    """What forbids to call one method better; nothing where scenes and seeds allow it, or seeds cannot tell."""
    if not line["separable"]:
        return "not separable"
    return "within the seeds' spread" if abs(line["difference"]) <= line["seeds' spread"] else ""


def write_intervals(
    directory: Path, stem: str, title: str, tables: Sequence[pd.DataFrame], left_out: Sequence[str] = ()
) -> list[Path]:
    """Write `<stem>.csv` (every measure), `<stem>.md` and `<stem>.tex` (the summaries)."""
    parts: list[Part] = [f"# Differences between methods: {title}"]
    for lines in tables:
        summaries = lines[lines["measure"].isin(SUMMARIES)]
        parts += [f"## Protocol {lines['protocol'].iloc[0]}", display(summaries), note(lines)]
    parts += left_out_notes(left_out)
    contents = {
        f"{stem}.csv": pd.concat(tables).to_csv(index=False, float_format="%.4f", lineterminator="\n"),
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
