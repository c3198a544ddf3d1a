"""One leaderboard under each named convention, and where the ranking depends on it.

Nothing is run again: every convention is another reading of the stored counts. What the counts do
not hold (an eroded label, an output for clutter, counts per scene) is a dash with its reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.formats.markdown import Part, escape_markdown
from benchmark.formats.table_files import Written, write_table_files
from benchmark.metrics.confusion import Absent, Floats, class_counts, divide_or_nan
from benchmark.metrics.result import sum_regions
from benchmark.metrics.summaries import (
    SUMMARIES,
    average_top1_last1,
    mean_scores,
    mean_std,
    unseen_subsets,
)
from benchmark.records.groups import SeedGroup, comparable_groups, seed_groups
from benchmark.records.record import SCENES, Record, read_scenes
from benchmark.records.selection import RecordSelection
from datamodules.store.scene_store import BAND, INTERIOR
from usererror import UserError

OWN = "own"
CHANGED_RANK_MARK = "!"
NOTE = (
    f"Per cent, mean over seeds, rank in brackets; {CHANGED_RANK_MARK} where the rank differs from "
    "that of the same methods under the leaderboard's own convention. The networks are the same in "
    "every column: only the reading of their counts differs."
)


class ConventionNotApplicable(Exception):
    """The record does not hold what a convention needs; says what is missing."""


@dataclass(frozen=True)
class ScoringConvention:
    """A named reading of a record: the score of each subset in per cent.

    Example:
        >>> [convention.name for convention in CONVENTIONS][:4]
        ['own', 'clutter dropped', 'clutter out', 'clutter in']
        >>> [entry.meaning for entry in CONVENTIONS if entry.name == "F1 of mIoU"]
        ['2 mIoU / (1 + mIoU)']
    """

    name: str
    meaning: str
    score_subsets: Callable[[Record], Floats]


def _score(record: Record, **changes: Any) -> tuple[Floats, Floats]:
    """MIoU and mF1 per subset with another setting of the record's own convention."""
    convention = replace(record.convention, **changes)
    return mean_scores(record.class_counts(convention=convention), convention)


def _own_miou(record: Record, **changes: Any) -> Floats:
    return _score(record, **changes)[0]


def _absent(rule: Absent) -> Callable[[Record], Floats]:
    return partial(_own_miou, absent=rule)


def _f1_of_miou(record: Record) -> Floats:
    miou = _own_miou(record) / 100
    return 100 * 2 * miou / (1 + miou)


def _clutter_miou(treatment: str, record: Record) -> Floats:
    """Score with clutter dropped (no pixels), out (no class of the mean) or in (a class of it)."""
    averaged = record.convention.averaged
    clutter = tuple(label for label in range(len(record.labels)) if label not in averaged)
    if not clutter:
        raise ConventionNotApplicable("the dataset has no clutter class")
    # ignored pixels of clutter are no errors; else each is one of the class it was taken for
    if treatment == "dropped":
        return _own_miou(record, ignored=clutter)
    if treatment == "out":
        return _own_miou(record, ignored=())
    if not set(clutter) <= set(record.convention.outputs):
        names = ", ".join(record.labels[label] for label in clutter)
        raise ConventionNotApplicable(f"the network has no output for {names}")
    return _own_miou(record, averaged=tuple(sorted((*averaged, *clutter))), ignored=())


def _miou_on_interior(record: Record) -> Floats:
    if BAND not in record.regions:
        raise ConventionNotApplicable("the test scenes have no eroded label")
    return _own_miou(record, regions=(INTERIOR,))


def _mean_of_scenes(record: Record) -> Floats:
    """Average each scene's mIoU; a class counts in the scenes that have it, as `absent` says."""
    if not (record.path / SCENES).exists():
        raise ConventionNotApplicable("no counts per scene (older published records have none)")
    try:
        scenes = read_scenes(record)
    except UserError as error:
        print(f"Left out of the scene mean: {error}")
        raise ConventionNotApplicable("damaged counts per scene") from error
    convention, mious = record.convention, []
    for blocks in scenes.values():
        matrices = sum_regions(blocks.sum(1), record.regions, convention.regions)
        mious.append(mean_scores(class_counts(matrices, convention), convention)[0])
    # a scene without any of the averaged classes has no score
    by_subset = np.stack(mious, -1)
    return divide_or_nan(np.nansum(by_subset, -1), (~np.isnan(by_subset)).sum(-1))


# what two of the readings below mean
CLUTTER_OUT = "clutter is not in the mean; its pixels taken for a class are errors"
ABSENT_UNION = "a class with neither true nor predicted pixels is left out"
_READINGS: tuple[tuple[str, str, Callable[[Record], Floats]], ...] = (
    (OWN, "as in the leaderboard", _own_miou),
    ("clutter dropped", "pixels of clutter do not exist", partial(_clutter_miou, "dropped")),
    ("clutter out", CLUTTER_OUT, partial(_clutter_miou, "out")),
    ("clutter in", "clutter is a class of the mean", partial(_clutter_miou, "in")),
    ("absent exclude", "a class without a true pixel is left out (nan)", _absent("exclude")),
    ("absent union", ABSENT_UNION, _absent("union")),
    ("absent zero", "a class without evidence counts 0", _absent("zero")),
    ("full label", "every labelled pixel", partial(_own_miou, regions=None)),
    ("eroded label", "without the band along class borders", _miou_on_interior),
    ("scene mean", "mean over scenes of each scene's mIoU, not pooled counts", _mean_of_scenes),
    ("macro F1", "mean of the class F1", lambda record: _score(record)[1]),
    # never below the mean of the class F1, since F1 is concave in IoU
    ("F1 of mIoU", "2 mIoU / (1 + mIoU)", _f1_of_miou),
)
CONVENTIONS = tuple(ScoringConvention(*reading) for reading in _READINGS)


def convention_frame(groups: Sequence[SeedGroup]) -> pd.DataFrame:
    """Score comparable groups under every convention, a line per convention, summary and group.

    Ranks are among the groups that the convention applies to, 1 for the highest mean over seeds;
    `base rank` is that of the same groups under `own`.
    """
    lines = []
    for convention in CONVENTIONS:
        scored = list(map(partial(_score_group, convention), groups))
        for position, summary in enumerate(SUMMARIES):
            for group, (values, reason) in zip(groups, scored, strict=True):
                mean, std = mean_std(values[:, position])
                line = {"convention": convention.name, "summary": summary, "label": group.label}
                line |= {**group.columns(), "value": mean, "std": std}
                lines.append(line | {"rank": 0, "base rank": 0, "reason": reason})
    frame = pd.DataFrame(lines)
    own = frame[frame["convention"] == OWN].set_index(["summary", "label"])["value"]
    # the rank under `own` is among the groups that this convention applies to, so that leaving
    # one out moves nobody
    base = own.loc[list(zip(frame["summary"], frame["label"], strict=True))].to_numpy()
    own_values = frame["value"].where(frame["value"].isna(), base)
    for name, column in (("rank", frame["value"]), ("base rank", own_values)):
        # sums in another order differ in the last digits: what is equal but for them shares a rank
        sections = column.round(9).groupby([frame["convention"], frame["summary"]])
        frame[name] = sections.rank("min", ascending=False).astype("Int64")
    frame["changed"] = (frame["rank"] != frame["base rank"]).fillna(False).astype(bool)
    return frame


def _score_group(convention: ScoringConvention, group: SeedGroup) -> tuple[Floats, str]:
    """Summarise each seed, `(seeds, summaries)`, or say why a seed has no score."""
    values: list[Floats] = []
    reasons: dict[str, list[str]] = {}
    for record in group.members:
        try:
            scores = convention.score_subsets(record)
            unseen = unseen_subsets(~np.isnan(scores), record.subsets)
            if unseen.any():
                names = ", ".join(np.array(record.subsets)[unseen])
                raise ConventionNotApplicable(f"the network sees none of {names}")
            values.append(np.array(average_top1_last1(scores)))
        except ConventionNotApplicable as error:
            reasons.setdefault(str(error), []).append(str(record.manifest.seed))
    if not reasons:
        return np.stack(values), ""
    # a mean over some of the seeds would be another row
    texts = []
    for text, seeds in reasons.items():
        texts.append(text + (f" of seed {', '.join(seeds)}" if values else ""))
    return np.full((len(group.members), len(SUMMARIES)), np.nan), "; ".join(texts)


def convention_table(frame: pd.DataFrame, summary: str) -> pd.DataFrame:
    """Show one summary: `score (rank)`, its rank under `own` and a mark where it is another one."""
    lines = frame[frame["summary"] == summary]
    own = lines[lines["convention"] == OWN]
    methods = own.sort_values("value", ascending=False, kind="stable")["label"].tolist()
    table = {"method": [*methods, "ranking"]}
    for name, section in lines.groupby("convention", sort=False):
        by_label = section.set_index("label").loc[methods]
        cells = list(map(_format_rank, by_label.to_dict("records")))
        verdict = "changes" if section["changed"].any() else "same"
        table[str(name)] = [*cells, "-" if section["value"].isna().all() else verdict]
    return pd.DataFrame(table)


def _format_rank(line: Mapping[Any, Any]) -> str:
    if np.isnan(line["value"]):
        return "-"
    score, rank = f"{line['value']:.2f}", line["rank"]
    if not line["changed"]:
        return f"{score} ({rank})"
    return f"{score} ({rank}, own {line['base rank']}) {CHANGED_RANK_MARK}"


def explain_dashes(frame: pd.DataFrame) -> list[str]:
    """Write one sentence per convention and reason for which there are dashes, and whose."""
    lines = frame[(frame["reason"] != "") & (frame["summary"] == SUMMARIES[0])]
    methods = frame["label"].nunique()
    sentences = []
    for (name, reason), group in lines.groupby(["convention", "reason"], sort=False):
        whose = "all methods" if len(group) == methods else ", ".join(group["label"])
        sentences.append(f"- {name}: {reason} ({escape_markdown(whose)})")
    return sentences


def write_conventions(out: Path, data: str, selection: RecordSelection) -> Written:
    """Write `<data>.csv` (one number a line), `.md` and `.tex` (Average)."""
    page: list[Part] = [f"# Scoring conventions: {escape_markdown(data)}"]
    frames, headline = [], {}
    for title, groups in comparable_groups(seed_groups(selection.records)).items():
        frame = convention_frame(groups)
        frames.append(frame)
        page.append(f"## Protocol {escape_markdown(title)}")
        for summary in SUMMARIES:
            page += [f"### {summary}", convention_table(frame, summary)]
        page.append(NOTE)
        if sentences := explain_dashes(frame):
            page += ["Dashes:", "\n".join(sentences)]
        headline[title] = convention_table(frame, SUMMARIES[0])
    page.append("\n".join(f"- {entry.name}: {entry.meaning}" for entry in CONVENTIONS))
    csv = {"csv": pd.concat(frames)}
    paths = write_table_files(out, data, csv, page, headline, NOTE, selection.skipped)
    heading = "Average under each convention"
    return paths, {f"{data}, {title}: {heading}": table for title, table in headline.items()}
