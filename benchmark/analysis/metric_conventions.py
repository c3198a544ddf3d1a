"""`imss lens`: one leaderboard under each named convention, and where the ranking depends on it, from run records.

Nothing is run again: every convention is another reading of the stored counts. What the counts do not hold (an eroded
label, an output for clutter, counts per scene) is a dash with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.formats.files import write_texts
from benchmark.formats.markdown_latex import Part, page_latex, page_markdown
from benchmark.leaderboard.notes import left_out_notes
from benchmark.metrics.confusion import Absent, Floats, class_counts, divide_or_nan
from benchmark.metrics.result import sum_regions
from benchmark.metrics.summaries import SUMMARIES, average_top1_last1, mean_scores, mean_std
from benchmark.records.groups import SeedGroup
from benchmark.records.record import SCENES, Record, read_scenes
from datamodules.store.scene_store import BAND, INTERIOR
from usererror import UserError

OWN = "own"
MARK = "!"
Reading = Callable[[Record], Floats]  # the score of each subset in per cent; raises Unreadable


class Unreadable(Exception):
    """The record does not hold what a convention needs; says what is missing."""


@dataclass(frozen=True)
class Lens:
    """A named reading of a record.

    Attributes:
        name, meaning: for the tables.
        read: how.
    """

    name: str
    meaning: str
    read: Reading


# ---- readings -------------------------------------------------------------------------------------------------------


def read_own(record: Record) -> Floats:
    """MIoU as in the leaderboard."""
    return mean_scores(record.class_counts(), record.convention)[0]


def read_f1(record: Record) -> Floats:
    """Mean of the class F1."""
    return mean_scores(record.class_counts(), record.convention)[1]


def read_f1_of_miou(record: Record) -> Floats:
    """2 mIoU / (1 + mIoU), which is never below the mean of the class F1."""
    miou = read_own(record) / 100
    return 100 * 2 * miou / (1 + miou)


def read_absent(absent: Absent) -> Reading:
    """MIoU under another rule for classes without evidence."""

    def read(record: Record) -> Floats:
        convention = replace(record.convention, absent=absent)
        return mean_scores(record.class_counts(convention=convention), convention)[0]

    return read


def clutter_of(record: Record) -> tuple[int, ...]:
    """Label ids that the record's own convention keeps out of the means."""
    clutter = tuple(
        label for label in range(len(record.labels)) if label not in record.convention.averaged
    )
    if not clutter:
        raise Unreadable("the dataset has no clutter class")
    return clutter


def read_clutter(kind: str) -> Reading:
    """MIoU with clutter `dropped` (its pixels do not exist), `out` of the mean (but errors on it count) or `in` it."""

    def read(record: Record) -> Floats:
        clutter, convention = clutter_of(record), record.convention
        if kind == "in" and not set(clutter) <= set(convention.outputs):
            raise Unreadable(
                f"the network has no output for {', '.join(record.labels[label] for label in clutter)}"
            )
        averaged = (
            tuple(sorted({*convention.averaged, *clutter})) if kind == "in" else convention.averaged
        )
        convention = replace(
            convention, averaged=averaged, ignored=clutter if kind == "dropped" else ()
        )
        return mean_scores(record.class_counts(convention=convention), convention)[0]

    return read


def read_label(regions: tuple[str, ...] | None) -> Reading:
    """MIoU on the full label, or on its interior, which eroded labels leave."""

    def read(record: Record) -> Floats:
        if regions is not None and BAND not in record.regions:
            raise Unreadable("the test scenes have no eroded label")
        convention = replace(record.convention, regions=regions)
        return mean_scores(record.class_counts(convention=convention), convention)[0]

    return read


def read_scene_mean(record: Record) -> Floats:
    """Mean over scenes of each scene's mIoU; a class counts in the scenes that have it, as `absent` says."""
    if not (record.path / SCENES).exists():
        raise Unreadable("no counts per scene (published records are slim)")
    try:
        scenes = read_scenes(record)
    except UserError as error:
        print(f"Left out of the scene mean: {error}")
        raise Unreadable("damaged counts per scene") from error
    by_scene = []
    for entry in scenes.counts:
        matrices = sum_regions(entry.sum(1), record.regions, record.convention.regions)
        counts = class_counts(matrices, record.convention)
        by_scene.append(mean_scores(counts, record.convention)[0])
    values = np.stack(by_scene, 1)  # (subsets, scenes)
    scored = ~np.isnan(values)
    return divide_or_nan(np.where(scored, values, 0).sum(1), scored.sum(1))


LENSES = (
    Lens(OWN, "as in the leaderboard", read_own),
    Lens("clutter dropped", "pixels of clutter do not exist", read_clutter("dropped")),
    Lens(
        "clutter out",
        "clutter is not in the mean; its pixels taken for a class are errors",
        read_clutter("out"),
    ),
    Lens("clutter in", "clutter is a class of the mean", read_clutter("in")),
    Lens(
        "absent exclude", "a class without a true pixel is left out (nan)", read_absent("exclude")
    ),
    Lens(
        "absent union",
        "a class with neither true nor predicted pixels is left out",
        read_absent("union"),
    ),
    Lens("absent zero", "a class without evidence counts 0", read_absent("zero")),
    Lens("full label", "every labelled pixel", read_label(None)),
    Lens("eroded label", "without the band along class borders", read_label((INTERIOR,))),
    Lens("scene mean", "mean over scenes of each scene's mIoU, not pooled counts", read_scene_mean),
    Lens("macro F1", "mean of the class F1", read_f1),
    Lens("F1 of mIoU", "2 mIoU / (1 + mIoU)", read_f1_of_miou),
)


# ---- tables ---------------------------------------------------------------------------------------------------------


def lens_table(rows: Sequence[SeedGroup], lenses: Sequence[Lens] = LENSES) -> pd.DataFrame:
    """Long form: convention, summary, method; value and std (per cent), rank, the rank it is compared with, reason.

    Ranks are among the rows that the convention can be read of, 1 for the highest mean over seeds, equal values share
    one; `base rank` is that of the same rows under `own`. `changed` says that they differ. Rows must belong to one of
    `comparable_groups`.
    """
    read = {(lens.name, row.label): _row_scores(lens, row) for lens in lenses for row in rows}
    lines = []
    for lens in lenses:
        for position, summary in enumerate(SUMMARIES):
            means = {row.label: read[lens.name, row.label][0][:, position].mean() for row in rows}
            known = [label for label, value in means.items() if not np.isnan(value)]
            base = {label: read[OWN, label][0][:, position].mean() for label in known}
            ranks, before = _ranks(means, known), _ranks(base, known)
            for row in rows:
                values, reason = read[lens.name, row.label]
                line: dict[str, Any] = {
                    "convention": lens.name,
                    "summary": summary,
                    "label": row.label,
                }
                line |= {
                    **row.columns(),
                    "value": means[row.label],
                    "std": mean_std(values[:, position]).std,
                }
                line |= {
                    "rank": ranks.get(row.label),
                    "base rank": before.get(row.label),
                    "reason": reason,
                }
                lines.append(line | {"changed": ranks.get(row.label) != before.get(row.label)})
    return pd.DataFrame(lines).astype({"rank": "Int64", "base rank": "Int64"})


def _row_scores(lens: Lens, row: SeedGroup) -> tuple[Floats, str]:
    """Seeds x (Average, Top-1, Last-1), and why there are none: a mean over some of the seeds would be another row."""
    values: list[Floats] = []
    reasons: dict[str, list[str]] = {}
    for record in row.members:
        try:
            values.append(np.stack(average_top1_last1(lens.read(record)), -1))
        except Unreadable as error:
            reasons.setdefault(str(error), []).append(str(record.manifest.seed))
    if not reasons:
        return np.stack(values), ""
    some = len(values) > 0
    reason = "; ".join(
        f"{text}{' of seed ' + ', '.join(seeds) if some else ''}" for text, seeds in reasons.items()
    )
    return np.full((len(row.members), len(SUMMARIES)), np.nan), reason


def _ranks(values: Mapping[str, float], among: Sequence[str]) -> dict[str, int]:
    # what is equal up to rounding shares a rank: sums in another order differ in the last digits
    return {
        label: 1 + sum(values[other] > values[label] + 1e-9 for other in among) for label in among
    }


def shown(table: pd.DataFrame, summary: str) -> pd.DataFrame:
    """One summary as people read it: `score (rank)`, with the rank under `own` and a mark where it is another one."""
    columns: dict[str, dict[str, dict[Any, Any]]] = {}
    for line in table[table["summary"] == summary].to_dict("records"):
        columns.setdefault(line["convention"], {})[line["label"]] = line
    order = sorted(columns[OWN], key=lambda label: _descending(columns[OWN][label]["value"]))
    shown: dict[str, list[str]] = {"method": [*order, "ranking"]}
    for name, lines in columns.items():
        readable = any(not np.isnan(line["value"]) for line in lines.values())
        verdict = (
            ("changes" if any(line["changed"] for line in lines.values()) else "same")
            if readable
            else "-"
        )
        shown[name] = [*(_cell(lines[label]) for label in order), verdict]
    return pd.DataFrame(shown)


def _descending(value: float) -> tuple[bool, float]:
    return bool(np.isnan(value)), -value


def _cell(line: Mapping[Any, Any]) -> str:
    if np.isnan(line["value"]):
        return "-"
    rank = f"{line['rank']}, own {line['base rank']}" if line["changed"] else line["rank"]
    return f"{line['value']:.2f} ({rank})" + (f" {MARK}" if line["changed"] else "")


def reasons(table: pd.DataFrame) -> list[str]:
    """One sentence per convention and reason for which there are dashes, and whose."""
    lines = table[(table["reason"] != "") & (table["summary"] == SUMMARIES[0])]
    methods = table["label"].nunique()
    sentences = []
    for (name, reason), group in lines.groupby(["convention", "reason"], sort=False):
        whose = "all methods" if len(group) == methods else ", ".join(group["label"])
        sentences.append(f"- {name}: {reason} ({whose})")
    return sentences


def write_lenses(
    directory: Path, data: str, tables: Mapping[str, pd.DataFrame], left_out: Sequence[str] = ()
) -> list[Path]:
    """Write `<data>.csv` (one number a line), `<data>.md` and `<data>.tex`."""
    parts: list[Part] = [f"# Convention lens: {data}"]
    for title, table in tables.items():
        parts.append(f"## Protocol {title}")
        for summary in SUMMARIES:
            parts += [f"### {summary}", shown(table, summary)]
        parts.append(NOTE)
        if sentences := reasons(table):
            parts += ["Dashes:", "\n".join(sentences)]
    parts += [
        "\n".join(f"- {lens.name}: {lens.meaning}" for lens in LENSES),
        *left_out_notes(left_out),
    ]
    contents = {
        f"{data}.csv": pd.concat(tables.values()).to_csv(
            index=False, float_format="%.4f", lineterminator="\n"
        ),
        f"{data}.md": page_markdown(parts),
        f"{data}.tex": page_latex(parts),
    }
    return write_texts(directory, contents)


NOTE = (
    f"Per cent, mean over seeds, rank in brackets; {MARK} where the rank differs from that of the same methods under "
    "the leaderboard's own convention. The networks are the same in every column: only the reading of their counts "
    "differs."
)
