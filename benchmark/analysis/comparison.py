"""How far apart two methods are, and whether the test scenes can tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis import bootstrap
from benchmark.formats.markdown import Part, escape_markdown, print_table
from benchmark.formats.table_files import Written, write_table_files
from benchmark.metrics.summaries import SUMMARIES, format_mean_std, mean_std
from benchmark.records.groups import SeedGroup, comparable_groups, seed_groups
from benchmark.records.selection import RecordSelection, Skipped, Unsaid
from usererror import UserError

MOST_PRINTED_PAIRS = 50  # that a terminal has room for


@dataclass(frozen=True)
class BootstrapOptions:
    """Draws of the test scenes, per cent that an interval holds, and the seed of the draws."""

    samples: int = 2000
    level: float = 95.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 100:
            raise UserError(f"--samples {self.samples} is too few; use at least 100.")
        if not 0 < self.level < 100:
            raise UserError(f"--level {self.level:g} is no percentage of an interval; use 95, say.")


def select_named_groups(groups: Sequence[SeedGroup], wanted: Sequence[str]) -> list[SeedGroup]:
    """Select the group of each word: a variant, or the first characters of a group's hash."""
    chosen: dict[str, SeedGroup] = {}
    for word in wanted:
        # a variant's name comes first, so that a hash cannot hide it
        fits = [group for group in groups if group.method == word]
        fits = fits or [group for group in groups if group.group.startswith(word)]
        if not fits:
            have = ", ".join(sorted({group.method for group in groups}))
            text = f"No record of method {word!r} on this dataset"
            raise UserError(f"{text}; there are records of: {have}.")
        if len(fits) > 1:
            several = ", ".join(f"{g.group[:8]} ({g.label}, {g.protocol})" for g in fits)
            raise UserError(f"{word!r} stands for several rows; name one by its group: {several}.")
        chosen[fits[0].group] = fits[0]
    if len(chosen) < 2:
        raise UserError("One method cannot be compared; name at least two, as in --methods a,b.")
    # a difference across protocols would be one of pixels, not of methods
    apart = comparable_groups(list(chosen.values()))
    if len(apart) > 1:
        kinds = [f"{title}: {', '.join(g.label for g in part)}" for title, part in apart.items()]
        text = "These rows were scored under different protocols and cannot be compared"
        raise UserError(f"{text} ({'; '.join(kinds)}).")
    return list(chosen.values())


def compare_groups(
    groups: Sequence[SeedGroup], options: BootstrapOptions, skipped: Skipped
) -> pd.DataFrame:
    """Compare all pairs of groups that have counts per scene, one line per pair and measure."""
    entries = bootstrap.read_units(groups, skipped)
    if len(entries) < 2:
        return pd.DataFrame()
    samples = bootstrap.bootstrap_groups(entries, options.samples, options.seed)
    drawn = entries[0].units[0]
    how = {"drawn": drawn.kind, "units": len(drawn.names), **vars(options)}
    lines = []
    for first, second in combinations(samples, 2):
        lines += [line | how for line in compare_samples(first, second, options.level)]
    return pd.DataFrame(lines)


def compare_samples(
    first: bootstrap.BootstrapSample, second: bootstrap.BootstrapSample, level: float
) -> list[dict[str, Any]]:
    """Compare a pair, one line per measure."""
    # of the differences under the same draws, not of each method: what is hard for both cancels
    low, high = bootstrap.percentile_bounds(first.draws - second.draws, level)
    lines = []
    for column, name in enumerate(bootstrap.measure_names(first.group)):
        line: dict[str, Any] = {"measure": name}
        for word, sample in (("first", first), ("second", second)):
            mean, std = mean_std(sample.seeds[:, column])
            line |= {word: sample.group.label, f"{word} mean": mean, f"{word} std": std}
            line[f"{word} seeds"] = len(sample.seeds)
        line["difference"] = line["first mean"] - line["second mean"]
        line |= {"low": low[column], "high": high[column]}
        line["separable"] = bool(low[column] > 0 or high[column] < 0)
        line["seeds' spread"] = np.hypot(line["first std"], line["second std"])
        lines.append(line)
    return lines


def judge_difference(line: Mapping[Any, Any]) -> str:
    """Say what forbids to call one method better; nothing where scenes and seeds allow it."""
    if np.isnan(line["difference"]):
        return "one of them has no score"
    if not line["separable"]:
        return "not separable"
    # of a single seed the spread is nan, which cannot tell
    return "within the seeds' spread" if abs(line["difference"]) <= line["seeds' spread"] else ""


def difference_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Show the summaries of a comparison as people read them."""
    lines = []
    for line in frame[frame["measure"].isin(SUMMARIES)].to_dict("records"):
        shown = {"first": line["first"], "second": line["second"], "measure": line["measure"]}
        for word in ("first", "second"):
            score = format_mean_std(line[f"{word} mean"], line[f"{word} std"])
            shown[f"{word} (n)"] = f"{score} ({line[f'{word} seeds']})"
        shown |= {"difference": "-", "interval": "-"}
        if not np.isnan(line["difference"]):
            shown["difference"] = f"{line['difference']:+z.2f}"
            shown["interval"] = f"{line['low']:+z.2f} to {line['high']:+z.2f}"
        lines.append(shown | {"verdict": judge_difference(line)})
    return pd.DataFrame(lines)


def write_comparison(
    out: Path,
    data: str,
    selection: RecordSelection,
    wanted: Sequence[str],
    options: BootstrapOptions,
) -> Written:
    """Write `<data>.csv` (every measure), `.md` and `.tex` (the summaries) of a dataset."""
    groups, skipped = seed_groups(selection.records), Skipped(selection.skipped)
    if wanted:
        groups = select_named_groups(groups, wanted)
    page: list[Part] = [f"# Differences between methods: {escape_markdown(data)}"]
    frames, headline, note = {}, {}, ""
    for title, members in comparable_groups(groups).items():
        lacking = Unsaid()
        frame = compare_groups(members, options, lacking)
        if frame.empty:
            reason = "fewer than two methods have counts per scene"
            without = f" ({len(lacking)} records have none)" if lacking else ""
            print(f"Nothing to compare under {data}, {title}: {reason}{without}.")
            continue
        for text in lacking:
            skipped.add(text)
        frames[f"{data}, {title}"] = frame.assign(protocol=title)
        headline[title], note = difference_table(frame), explain_intervals(frame)
        page += [f"## Protocol {escape_markdown(title)}", headline[title], note]
    if not frames:
        if wanted:
            reason = "counts per scene are needed of two; run again."
            raise UserError(f"{' and '.join(wanted)} cannot be compared: {reason}")
        return [], {}
    # the names in the file's: a comparison of some methods leaves the file of all as it is
    stem, csv = ".".join([data, *wanted]), {"csv": pd.concat(frames.values())}
    return write_table_files(out, stem, csv, page, headline, note, skipped), frames


def print_comparison(title: str, frame: pd.DataFrame) -> None:
    """Print the summaries of few pairs; of many, how many of them cannot be told apart."""
    pairs = frame[(frame["measure"] == SUMMARIES[0]) & frame["difference"].notna()]
    how = _describe_draws(frame)
    if len(pairs) <= MOST_PRINTED_PAIRS:
        print_table(f"{title}: differences, {how}", difference_table(frame))
    else:
        alike = f"{(~pairs['separable']).sum()} of {len(pairs)} pairs are not separable"
        print(f"{title}: {alike} in {SUMMARIES[0]}, {how}.")


def _describe_draws(frame: pd.DataFrame) -> str:
    first = frame.iloc[0]
    return f"{first['level']:g} % intervals over {first['units']} {first['drawn']}"


def explain_intervals(frame: pd.DataFrame) -> str:
    """Say what the intervals of a comparison mean."""
    first, blocks = frame.iloc[0], ""
    if first["drawn"] == bootstrap.BLOCKS:
        blocks = (
            " Blocks of one scene resemble each other, so that these intervals are rather too "
            "narrow."
        )
    return (
        f"Points of mIoU; mean +- std over (n) seeds; {_describe_draws(frame)}, paired bootstrap "
        f"percentiles of {first['samples']} draws from seed {first['seed']}, for the trained "
        "networks as they are. Not separable: 0 lies inside; within the seeds' spread: the "
        "difference is no larger than the root of the sum of both squared standard deviations over "
        f"seeds. Each interval stands for itself; of many, some miss by chance.{blocks}"
    )
