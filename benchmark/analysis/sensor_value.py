"""`imss worth`: what each sensor is worth to each method, and what is left when sensors fail, from run records."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from benchmark.analysis.shapley import (
    as_game,
    break_even_probabilities,
    expected_score,
    shapley_interactions,
    shapley_values,
    subset_bitmasks,
)
from benchmark.formats.files import write_texts
from benchmark.formats.markdown_latex import Part, page_latex, page_markdown
from benchmark.formats.numbers import format_mean_std
from benchmark.leaderboard.notes import left_out_notes
from benchmark.metrics.confusion import ClassCounts, Convention, Floats, class_scores
from benchmark.metrics.summaries import average_top1_last1, mean_std, with_mean_first
from benchmark.records.groups import SeedGroup, comparable_groups
from benchmark.records.record import Record
from benchmark.records.selection import Skipped

Empty = Literal["zero", "majority"]
EMPTY_NAMES = {"zero": "0", "majority": "what calling every pixel the most frequent class scores"}
FAILURES = (0.05, 0.1, 0.2)
CURVE = np.linspace(0, 1, 101)
MEAN = "mIoU"  # in the column `class`, for the mean over classes


def spread(seeds: Floats) -> str:
    """Mean +- std over seeds."""
    return format_mean_std(*mean_std(seeds))


def complete_rows(rows: Sequence[SeedGroup], skipped: Skipped) -> list[SeedGroup]:
    """The rows that have a score of every subset; the others are named, since no worth can be had from them."""
    kept = []
    for row in rows:
        try:
            subset_bitmasks(row.first.subsets)
        except ValueError as error:
            skipped.add(f"{row.label}, {error}.")
            continue
        missing = sorted(
            {name for record in row.members for name in unscored(record)},
            key=row.first.subsets.index,
        )
        if missing:
            names = ", ".join(missing)
            skipped.add(f"{row.label}, no test scene has all modalities of {names}.")
        else:
            kept.append(row)
    return kept


def unscored(record: Record) -> list[str]:
    """Subsets that were scored on no scene, or on none with a label."""
    labelled = record.class_counts().support.sum(-1).tolist()
    return [name for name, some in zip(record.subsets, labelled, strict=True) if not some]


def games(record: Record, empty: Empty = "zero") -> Floats:
    """The games of one record in per cent, (1 + averaged classes) x 2^M: that of mIoU, then one per class IoU.

    A class that the record's convention leaves out of the mean has no game (nan).
    """
    convention = record.convention
    _, places = subset_bitmasks(record.subsets)
    counts = record.class_counts()
    values = _class_values(counts, convention)
    nothing = (
        np.zeros(len(values[0])) if empty == "zero" else _class_values(majority(counts), convention)
    )
    return as_game(values.T, places, empty=nothing)


def _class_values(counts: ClassCounts, convention: Convention) -> Floats:
    """... x (1 + classes) in per cent."""
    iou, _, used = class_scores(counts, convention.absent)
    return 100 * with_mean_first(iou, used)


def majority(counts: ClassCounts) -> ClassCounts:
    """Counts of calling every pixel the most frequent averaged class.

    From the truth of the subset with most pixels; where scenes lack modalities the subsets differ in it.
    """
    truth = counts.support[np.argmax(counts.support.sum(-1))]
    most = np.arange(len(truth)) == truth.argmax()
    return ClassCounts(np.where(most, truth, 0), truth, np.where(most, truth.sum(), 0))


def row_games(row: SeedGroup, empty: Empty) -> Floats:
    """The games of all seeds, seeds x (1 + classes) x 2^M."""
    return np.stack([games(record, empty) for record in row.members])


def class_names(row: SeedGroup) -> list[str]:
    """`mIoU`, then the averaged classes."""
    return [MEAN, *row.classes]


def worth_lines(row: SeedGroup, empty: Empty) -> list[dict[str, Any]]:
    """Long form of everything about one row: measure, class, subject (a modality, a pair, a probability), mean, std."""
    letters, _ = subset_bitmasks(row.first.subsets)
    by_seed = row_games(row, empty)
    pairs = list(combinations(range(len(letters)), 2))
    index = shapley_interactions(by_seed)
    parts: dict[str, tuple[list[str], Floats]] = {
        "shapley": (list(letters), shapley_values(by_seed)),
        "interaction": (
            [f"{letters[a]} x {letters[b]}" for a, b in pairs],
            np.stack([index[..., a, b] for a, b in pairs], -1)
            if pairs
            else np.empty((*by_seed.shape[:-1], 0)),
        ),
        "expected": ([f"p={p:g}" for p in FAILURES], expected_score(by_seed, np.array(FAILURES))),
        "expected, all lost counts 0": (
            [f"p={p:g}" for p in FAILURES],
            expected_score(by_seed, np.array(FAILURES), conditional=False),
        ),
    }
    lines = []
    for measure, (subjects, values) in parts.items():
        for number, name in enumerate(class_names(row)):
            for position, subject in enumerate(subjects):
                seeds = values[:, number, position]
                entry = {
                    "measure": measure,
                    "class": name,
                    "subject": subject,
                    "value": float(seeds.mean()),
                }
                lines.append({**row.columns(), **entry, "std": mean_std(seeds).std})
    return lines


def shapley_table(rows: Sequence[SeedGroup], empty: Empty) -> pd.DataFrame:
    """Worth of each modality and interaction of each pair in mIoU, per method."""
    letters, _ = subset_bitmasks(rows[0].first.subsets)
    lines = []
    for row in rows:
        by_seed = row_games(row, empty)[:, 0]
        values, pairs = shapley_values(by_seed), shapley_interactions(by_seed)
        line = {"method": row.label} | {
            letter: spread(values[:, m]) for m, letter in enumerate(letters)
        }
        line["sum"] = spread(values.sum(-1))
        for a, b in combinations(range(len(letters)), 2):
            line[f"{letters[a]} x {letters[b]}"] = spread(pairs[:, a, b])
        lines.append(line | {"n": str(len(row.members))})
    return pd.DataFrame(lines)


def class_table(row: SeedGroup, empty: Empty) -> pd.DataFrame:
    """Worth of each modality per class, of one method."""
    letters, _ = subset_bitmasks(row.first.subsets)
    values = shapley_values(row_games(row, empty))
    return pd.DataFrame(
        {"class": name} | {letter: spread(values[:, number, m]) for m, letter in enumerate(letters)}
        for number, name in enumerate(class_names(row))
    )


def expected_table(rows: Sequence[SeedGroup]) -> pd.DataFrame:
    """Expected mIoU at the published probabilities, with Average (every subset as likely) beside, best first at 0.1."""
    lines = []
    for row in rows:
        by_seed = row_games(row, "zero")[:, 0]
        line = {"method": row.label, "none fails": spread(by_seed[:, -1])}
        line |= {f"p = {p:g}": spread(expected_score(by_seed, p)) for p in FAILURES}
        line |= {
            "Average": spread(average_top1_last1(by_seed[:, 1:]).average),
            "n": str(len(row.members)),
        }
        lines.append((-float(expected_score(by_seed, 0.1).mean()), line))
    return pd.DataFrame([line for _, line in sorted(lines, key=lambda entry: entry[0])])


def crossing_table(rows: Sequence[SeedGroup]) -> pd.DataFrame:
    """Where the mean curves of two methods cross: below p the first is ahead, above it the second."""
    lines = []
    curves = {row.label: row_games(row, "zero")[:, 0].mean(0) for row in rows}
    for (one, first), (other, second) in combinations(curves.items(), 2):
        roots = break_even_probabilities(first, second)
        edges = [0.0, *roots, 1.0]
        for number, root in enumerate(roots):
            below = (edges[number] + root) / 2
            ahead = bool(expected_score(first, below) > expected_score(second, below))
            value = float(expected_score(first, root))
            names = (one, other) if ahead else (other, one)
            lines.append({"first": names[0], "second": names[1], "p": root, MEAN: value})
    return pd.DataFrame(lines, columns=["first", "second", "p", MEAN])


def write_worth(
    directory: Path,
    data: str,
    rows: Sequence[SeedGroup],
    empty: Empty,
    left_out: Sequence[str] = (),
) -> list[Path]:
    """Write `<data>.csv` (everything, one number a line), `.curve.csv`, `.crossings.csv`, `.md` and `.tex`."""
    curve = [
        {**row.columns(), "p": f"{p:.2f}", "expected mIoU": f"{value:.4f}"}
        for row in rows
        for p, value in zip(
            CURVE, expected_score(row_games(row, "zero")[:, 0].mean(0), CURVE), strict=True
        )
    ]
    met = [
        crossing_table(members).assign(protocol=title)
        for title, members in comparable_groups(rows).items()
    ]
    tables = {
        "csv": pd.DataFrame(line for row in rows for line in worth_lines(row, empty)),
        "curve.csv": pd.DataFrame(curve),
        "crossings.csv": pd.concat(met),
    }
    contents = {
        name: table.to_csv(index=False, float_format="%.4f", lineterminator="\n")
        for name, table in tables.items()
    }
    page = [*worth_page(data, rows, empty), *left_out_notes(left_out)]
    contents |= {"md": page_markdown(page), "tex": page_latex(page)}
    return write_texts(directory, {f"{data}.{suffix}": text for suffix, text in contents.items()})


def worth_page(data: str, rows: Sequence[SeedGroup], empty: Empty) -> list[Part]:
    """The page of a dataset."""
    parts: list[Part] = [f"# What a sensor is worth: {data}"]
    for title, members in comparable_groups(rows).items():
        parts += [f"## Protocol {title}", shapley_table(members, empty), note(empty)]
        parts += ["### When sensors fail", expected_table(members), EXPECTED_NOTE]
        met = crossing_table(members)
        if len(met):
            shown = met.assign(
                p=met["p"].map("{:.4f}".format), **{MEAN: met[MEAN].map("{:.2f}".format)}
            )
            parts += [shown, CROSSING_NOTE]
        elif len(members) > 1:
            parts.append("No two of these curves cross.")
        parts.append("### By class")
        for row in members:
            parts += [f"{row.label}, points of IoU:", class_table(row, empty)]
    return parts


EXPECTED_NOTE = (
    "Expected mIoU in per cent when each sensor fails independently with probability p, given that at least one is "
    "left (mIoU^E_EMM of Liao et al. 2025, as far as their numbers show; the CSV also has the sum in which losing all "
    "counts 0). Average takes every subset as equally likely (their mIoU^Avg_EMM)."
)


CROSSING_NOTE = (
    "Where the expected mIoU (mean of the seeds) of two methods is the same: below p the first is ahead, above it the "
    "second."
)


def note(empty: Empty) -> str:
    """What the numbers of a Shapley table mean."""
    return (
        "Shapley value of each modality in points of mIoU: the mean, over all orders of arrival, of what it adds. "
        f"The empty set scores {EMPTY_NAMES[empty]}; the values sum to the score of the full set less that, and it "
        "enters the interactions too. "
        "A x B: Shapley interaction index (Grabisch and Roubens), positive where two sensors add more together than "
        "apart. Mean +- std over n seeds."
    )
