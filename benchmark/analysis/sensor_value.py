"""What each sensor is worth to each method, and the expected score when sensors fail."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from benchmark.analysis import shapley
from benchmark.formats.markdown import Part, escape_markdown
from benchmark.formats.table_files import Written, write_table_files
from benchmark.metrics.confusion import ClassCounts, Floats, class_scores
from benchmark.metrics.summaries import (
    format_mean_std,
    mean_std,
    unseen_subsets,
    with_mean_first,
)
from benchmark.records.groups import SeedGroup, comparable_groups, seed_groups
from benchmark.records.record import Record
from benchmark.records.selection import RecordSelection, Skipped

Empty = Literal["zero", "majority"]
EMPTY_NAMES = {"zero": "0", "majority": "what calling every pixel the most frequent class scores"}
FAILURES = (0.05, 0.1, 0.2)  # the probabilities that Liao et al. print
CURVE = np.linspace(0, 1, 101)
MEAN = "mIoU"  # in the column `class`, for the mean over classes
EXPECTED_NOTE = (
    "Expected mIoU in per cent when each sensor fails independently with probability p, given that "
    "at least one is left (mIoU^E_EMM of Liao et al. 2025, as far as their numbers show; the CSV "
    "also has the sum in which losing all counts 0). Average takes every subset as equally likely "
    "(their mIoU^Avg_EMM)."
)
EQUITY = ("spread", "deviation")  # see `shapley.value_spread`
EQUITY_NOTE = (
    "Equity of the sensors: spread is the largest of these values less the smallest, deviation "
    "their standard deviation (of all sensors, no sample); both are 0 where all are worth the same."
)
LEARNING_NOTE = (
    "Learns: the sensor's share of the norms of the gradient at its pixels, mean of all steps; a "
    "dash where it was not measured (docs/incomplete.md)."
)
BREAK_EVEN_NOTE = (
    "Where the expected mIoU (mean of the seeds) of two methods is the same: below p the first is "
    "ahead, above it the second."
)


def subset_games(record: Record, empty: Empty = "zero") -> Floats:
    """Compute the games of a record in per cent, `(1 + averaged classes, 2^M)`.

    The first is that of mIoU, the others those of the class IoU. A class that the record's
    convention leaves out of the mean has no game (nan).
    """
    _, masks = shapley.subset_bitmasks(record.subsets)
    counts, absent = record.class_counts(), record.convention.absent

    def score(counts: ClassCounts) -> Floats:
        iou, _, used = class_scores(counts, absent)
        return 100 * with_mean_first(iou, used)

    # without a sensor a network can still answer, always the same
    nothing = score(majority_baseline(counts)) if empty == "majority" else 0.0
    return shapley.as_game(score(counts).T, masks, nothing)


def majority_baseline(counts: ClassCounts) -> ClassCounts:
    """Count what calling every pixel the most frequent averaged class gives.

    Example:
        >>> counts = ClassCounts(*np.array([[[40, 9]], [[70, 30]], [[61, 39]]]))
        >>> hits, support, predicted = majority_baseline(counts)
        >>> hits.tolist(), support.tolist(), predicted.tolist()
        ([70, 0], [70, 30], [100, 0])
    """
    # where scenes lack modalities the subsets differ in their pixels: take the one with most
    support = counts.support[np.argmax(counts.support.sum(-1))]
    most = np.arange(len(support)) == support.argmax()
    return ClassCounts(np.where(most, support, 0), support, np.where(most, support.sum(), 0))


@dataclass(frozen=True)
class SensorGames:
    """The games of the seeds of one method."""

    group: SeedGroup
    letters: tuple[str, ...]  # of the modalities, M
    games: Floats  # `(seeds, 1 + averaged classes, 2^M)`, see `subset_games`

    @property
    def miou(self) -> Floats:
        """The games of mIoU, `(seeds, 2^M)`."""
        return self.games[:, 0]

    @property
    def classes(self) -> list[str]:
        """What the games are of: `mIoU`, then the averaged classes."""
        return [MEAN, *self.group.classes]

    @property
    def pairs(self) -> list[str]:
        """Names of the pairs of modalities, in the order of `interactions`."""
        return list(map(" x ".join, combinations(self.letters, 2)))

    @property
    def learning(self) -> Floats:
        """Each modality's share of the gradient, `(seeds, M)`; nan where it was not measured."""
        shares = []
        for manifest in (record.manifest for record in self.group.members):
            by_letter = {manifest.modalities[m]: share for m, share in manifest.learning.items()}
            shares.append([by_letter.get(letter, np.nan) for letter in self.letters])
        return np.array(shares)

    def interactions(self) -> Floats:
        """Compute the interaction index of each pair, `(seeds, 1 + classes, pairs)`."""
        # in the order of combinations
        first, second = np.triu_indices(len(self.letters), 1)
        return shapley.shapley_interactions(self.games)[..., first, second]


def sensor_games(
    groups: Sequence[SeedGroup], skipped: Skipped, empty: Empty = "zero"
) -> list[SensorGames]:
    """Compute the games of the groups that have a score of every subset; the others are skipped."""
    found = []
    for group in groups:
        subsets = group.first.subsets
        try:
            letters, _ = shapley.subset_bitmasks(subsets)
        except ValueError as error:
            skipped.add(f"{group.label}, {error}.")
            continue
        # a subset that no test scene has all modalities of was scored on nothing
        labelled = [record.class_counts().support.any(-1) for record in group.members]
        scored = np.all(labelled, axis=0)
        if not scored.all():
            names = ", ".join(np.array(subsets)[~scored])
            reason = f"no test scene has all modalities of {names}"
            if unseen_subsets(scored, subsets).any():
                reason = f"the network sees none of {names}"
            skipped.add(f"{group.label}, {reason}: its sensors have no values.")
            continue
        games = np.stack([subset_games(record, empty) for record in group.members])
        found.append(SensorGames(group, letters, games))
    return found


def sensor_value_frame(methods: Sequence[SensorGames]) -> pd.DataFrame:
    """List everything in long form: measure, class, subject (modality, pair, p), value and std."""
    probabilities = list(map("p={:g}".format, FAILURES))
    lines = []
    for method in methods:
        expected = shapley.expected_score(method.games, np.array(FAILURES))
        lossy = shapley.expected_score(method.games, np.array(FAILURES), conditional=False)
        values = shapley.shapley_values(method.games)
        measures = {
            "shapley": (method.letters, values),
            "equity": (EQUITY, shapley.value_spread(values)),
            "interaction": (method.pairs, method.interactions()),
            "expected": (probabilities, expected),
            "expected, all lost counts 0": (probabilities, lossy),
        }
        for measure, (subjects, numbers) in measures.items():
            means, stds = mean_std(numbers)
            for number, name in enumerate(method.classes):
                for position, subject in enumerate(subjects):
                    line = {"measure": measure, "class": name, "subject": subject}
                    line |= {"value": means[number, position], "std": stds[number, position]}
                    lines.append({**method.group.columns(), **line})
        # of the training as a whole
        shares, deviations = mean_std(method.learning)
        for letter, share, std in zip(method.letters, shares, deviations, strict=True):
            if not np.isnan(share):
                line = {"measure": "learning", "class": "", "subject": letter}
                lines.append({**method.group.columns(), **line, "value": share, "std": std})
    return pd.DataFrame(lines)


def _format_columns(names: Sequence[str], values: Floats) -> dict[str, str]:
    """Format mean +- std of `(seeds, columns)` by name of the column."""
    return {
        name: format_mean_std(*mean_std(seeds)) for name, seeds in zip(names, values.T, strict=True)
    }


def shapley_table(methods: Sequence[SensorGames]) -> pd.DataFrame:
    """Show in mIoU the Shapley value of each modality, their spread, each pair's interaction."""
    lines = []
    measured = any(not np.isnan(method.learning).any() for method in methods)
    for method in methods:
        values = shapley.shapley_values(method.miou)
        line = {"method": method.group.label, **_format_columns(method.letters, values)}
        line |= _format_columns(["sum"], values.sum(-1, keepdims=True))
        line |= _format_columns(EQUITY, shapley.value_spread(values))
        line |= _format_columns(method.pairs, method.interactions()[:, 0])
        if measured:
            names = list(map("learns {}".format, method.letters))
            line |= _format_columns(names, method.learning)
        lines.append(line | {"n": str(len(values))})
    return pd.DataFrame(lines)


def class_table(method: SensorGames) -> pd.DataFrame:
    """Show the Shapley value of each modality per class."""
    values = shapley.shapley_values(method.games)
    lines = []
    for number, name in enumerate(method.classes):
        lines.append({"class": name, **_format_columns(method.letters, values[:, number])})
    return pd.DataFrame(lines)


def expected_score_table(methods: Sequence[SensorGames]) -> pd.DataFrame:
    """Show the expected mIoU at the published probabilities beside Average, best first at 0.1."""
    lines = []
    for method in sorted(methods, key=lambda one: -shapley.expected_score(one.miou, 0.1).mean()):
        expected = shapley.expected_score(method.miou, np.array(FAILURES))
        scores = np.column_stack([method.miou[:, -1], expected])
        line = {"method": method.group.label}
        line |= _format_columns(["none fails", *map("p = {:g}".format, FAILURES)], scores)
        # without the empty set, which is no subset of the table
        line |= _format_columns(["Average"], method.miou[:, 1:].mean(-1, keepdims=True))
        lines.append(line | {"n": str(len(scores))})
    return pd.DataFrame(lines)


def break_even_table(methods: Sequence[SensorGames]) -> pd.DataFrame:
    """List where the mean curves of two methods cross: the first is ahead below p."""
    lines = []
    for one, other in combinations(methods, 2):
        first, second = one.miou.mean(0), other.miou.mean(0)
        edge = 0.0
        for root in shapley.break_even_probabilities(first, second):
            below = (edge + root) / 2
            names = [one.group.label, other.group.label]
            if shapley.expected_score(first, below) <= shapley.expected_score(second, below):
                names.reverse()
            lines.append((*names, root, float(shapley.expected_score(first, root))))
            # the next order holds from here on
            edge = root
    return pd.DataFrame(lines, columns=["first", "second", "p", MEAN])


def write_sensor_values(
    out: Path, data: str, selection: RecordSelection, empty: Empty = "zero"
) -> Written:
    """Write `<data>.csv`, `.curve.csv`, `.crossings.csv`, `.md` and `.tex` of a dataset."""
    skipped = Skipped(selection.skipped)
    sections = {}
    for title, groups in comparable_groups(seed_groups(selection.records)).items():
        if methods := sensor_games(groups, skipped, empty):
            sections[title] = methods
    if not sections:
        return [], {}
    everyone = list(chain.from_iterable(sections.values()))
    # as all files of an analysis have them, whatever their protocol
    everyone.sort(key=lambda method: (method.group.label, method.group.group))
    crossings = [break_even_table(methods).assign(protocol=t) for t, methods in sections.items()]
    frames = {
        "csv": sensor_value_frame(everyone),
        "curve.csv": _curve_frame(everyone),
        "crossings.csv": pd.concat(crossings),
    }
    page: list[Part] = [f"# What a sensor is worth: {escape_markdown(data)}"]
    headline, displays = {}, {}
    note = f"{shapley_note(empty)} {EQUITY_NOTE}"
    if any(record.manifest.learning for record in selection.records):
        note = f"{note} {LEARNING_NOTE}"
    for title, methods in sections.items():
        headline[title], expected = shapley_table(methods), expected_score_table(methods)
        displays[f"{data}, {title}: Shapley values of mIoU in points"] = headline[title]
        displays[f"{data}, {title}: expected mIoU in per cent"] = expected
        page += [f"## Protocol {escape_markdown(title)}", headline[title], note]
        page += ["### When sensors fail", expected, EXPECTED_NOTE, *_break_even_parts(methods)]
        page.append("### By class")
        for method in methods:
            label = escape_markdown(method.group.label)
            page += [f"{label}, points of IoU:", class_table(method)]
    return write_table_files(out, data, frames, page, headline, note, skipped), displays


def _curve_frame(methods: Sequence[SensorGames]) -> pd.DataFrame:
    lines = []
    for method in methods:
        scores = shapley.expected_score(method.miou.mean(0), CURVE)
        for p, score in zip(CURVE, scores, strict=True):
            columns = {"p": f"{p:.2f}", "expected mIoU": f"{score:.4f}"}
            lines.append({**method.group.columns(), **columns})
    return pd.DataFrame(lines)


def _break_even_parts(methods: Sequence[SensorGames]) -> list[Part]:
    table = break_even_table(methods)
    if len(table):
        table["p"] = table["p"].map("{:.4f}".format)
        table[MEAN] = table[MEAN].map("{:.2f}".format)
        return [table, BREAK_EVEN_NOTE]
    return ["No two of these curves cross."] if len(methods) > 1 else []


def shapley_note(empty: Empty) -> str:
    """Say what the numbers of a Shapley table mean."""
    return (
        "Shapley value of each modality in points of mIoU: the mean, over all orders of arrival, "
        f"of what it adds. The empty set scores {EMPTY_NAMES[empty]}; the values sum to the score "
        "of the full set less that, and it enters the interactions too. A x B: Shapley interaction "
        "index (Grabisch and Roubens), positive where two sensors add more together than apart. "
        "Mean +- std over n seeds."
    )
