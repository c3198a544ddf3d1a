"""`imss compare`: how far apart two methods are, and whether the test scenes can tell, from run records.

Paired bootstrap over scenes: scenes are drawn with replacement, the same ones for every method, their counts are added
and scored as the table scores the whole test set. The interval holds the middle LEVEL per cent of the differences
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). It speaks of the choice of test scenes only;
what another seed would do stands beside it, as mean and standard deviation over seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.metrics.confusion import ClassCounts, Counts, Floats, class_counts
from benchmark.metrics.result import sum_regions
from benchmark.metrics.summaries import SUMMARIES, average_top1_last1, mean_scores
from benchmark.records.groups import SeedGroup
from benchmark.records.record import Record, SceneCounts, read_scenes
from benchmark.records.selection import Skipped
from usererror import UserError

FEWEST_SCENES = (
    10  # below this, blocks of the scenes are drawn: few scenes give few different draws
)
CHUNK = 2**23  # entries of the largest array of resampled sums, 64 MiB
PRINTED = 50  # pairs that a terminal has room for
SCENES, BLOCKS = "scenes", "blocks"


@dataclass(frozen=True)
class Units:
    """What is drawn: scenes, or blocks of scenes.

    Attributes:
        kind: `scenes` or `blocks`.
        sums: per unit, units x subsets x 3 x averaged classes, the parts of `ClassCounts`.
        names: per unit, to check that two records are paired.
    """

    kind: str
    sums: Counts
    names: tuple[str, ...]


def units_of(record: Record, scenes: SceneCounts) -> Units:
    """Scenes, or blocks of scenes where there are fewer than FEWEST_SCENES; without a labelled pixel they do not count.

    Blocks of one scene resemble each other more than scenes do, so that intervals from them are rather too narrow.
    """
    regions = record.convention.regions
    parts = [
        np.stack(
            class_counts(
                sum_regions(np.moveaxis(entry, 1, 0), record.regions, regions),
                record.convention,
            ),
            -2,
        )
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
    return Units(
        kind,
        sums[labelled],
        tuple(name for name, keep in zip(names, labelled, strict=True) if keep),
    )


def check_paired(rows: Sequence[SeedGroup], units: Sequence[Sequence[Units]]) -> None:
    """Raise a UserError unless all records have the same units with the same true pixels."""
    first = units[0][0]
    for row, members in zip(rows, units, strict=True):
        for record, entry in zip(row.members, members, strict=True):
            same = entry.names == first.names and np.array_equal(
                entry.sums[:, :, 1], first.sums[:, :, 1]
            )
            if not same:
                raise UserError(
                    f"{record.path} was scored on other scenes, blocks or labels than {rows[0].first.path}, though the "
                    "fingerprints agree; run its cell again with FORCE=1."
                )


def draws(units: int, samples: int, seed: int) -> Counts:
    """How often each unit is drawn, samples x units; every row sums to `units`."""
    return np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), samples)


def measures(row: SeedGroup) -> list[str]:
    """Names of the columns of `measure_values`."""
    return [*SUMMARIES, "Average mF1", *(f"mIoU {name}" for name in row.first.subsets)]


def measure_values(record: Record, sums: Counts) -> Floats:
    """... x measures in per cent, from ... x subsets x 3 x averaged classes."""
    counts = ClassCounts(*np.moveaxis(sums, -2, 0))
    miou, mf1 = mean_scores(counts, record.convention)
    columns = [*average_top1_last1(miou), average_top1_last1(mf1).average]
    return np.concatenate([np.stack(columns, -1), miou], -1)


def resampled(record: Record, units: Units, weights: Counts) -> Floats:
    """The measures under every draw, samples x measures, in pieces that fit into memory."""
    flat = units.sums.reshape(len(units.sums), -1).astype(
        float
    )  # exact below 2^53 pixels, and float products are fast
    step = max(1, CHUNK // flat.shape[1])
    pieces = [
        measure_values(
            record, (weights[start : start + step] @ flat).reshape(-1, *units.sums.shape[1:])
        )
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
        [
            np.percentile(column, [tail, 100 - tail]) if len(column) else [np.nan, np.nan]
            for column in columns
        ]
    ).T


@dataclass(frozen=True)
class Sampled:
    """The measures of one row.

    Attributes:
        row: whose.
        seeds: over all units, seeds x measures, per cent.
        draws: the mean of the seeds under every draw, samples x measures, per cent.
    """

    row: SeedGroup
    seeds: Floats
    draws: Floats


def sample(
    rows: Sequence[SeedGroup], units: Sequence[Sequence[Units]], samples: int, seed: int
) -> list[Sampled]:
    """The measures of rows with the units of their members (see `with_units`), under the same draws for all.

    Raises:
        UserError: the records are not paired, or there is only one unit to draw from.
    """
    check_paired(rows, units)
    drawn = units[0][0]
    if len(drawn.names) < 2:
        raise UserError(
            f"There is a single {drawn.kind[:-1]} with labels; an interval needs at least two."
        )
    weights = draws(len(drawn.names), samples, seed)
    sampled = []
    for row, members in zip(rows, units, strict=True):
        pairs = list(zip(row.members, members, strict=True))
        seeds = np.array([measure_values(record, entry.sums.sum(0)) for record, entry in pairs])
        spread = np.mean([resampled(record, entry, weights) for record, entry in pairs], axis=0)
        sampled.append(Sampled(row, seeds, spread))
    return sampled


def with_units(
    rows: Sequence[SeedGroup], skipped: Skipped
) -> tuple[list[SeedGroup], list[list[Units]]]:
    """Rows with the units of their members; a record without usable counts per scene is left out and named."""
    kept, units = [], []
    for row in rows:
        members = []
        for record in row.members:
            try:
                members.append((record, units_of(record, read_scenes(record))))
            except UserError as error:
                skipped.add(str(error))
        if members:
            kept.append(replace(row, members=tuple(record for record, _ in members)))
            units.append([entry for _, entry in members])
    return kept, units
