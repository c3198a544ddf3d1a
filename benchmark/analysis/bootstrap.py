"""Paired bootstrap over test scenes: how far scores depend on the choice of scenes.

Scenes are drawn with replacement, the same ones for every method; their counts are added and scored
as the table scores the whole test set. An interval holds the middle `level` per cent of what the
draws give (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). It speaks of
the choice of test scenes only; what another seed would do stands beside it, as mean and standard
deviation over seeds.

Three scenes have 10 pixels of one class and 10 that were taken for it; the hits are 8, 5 and 2.
On all of them IoU = 15 / (30 + 30 - 15) = 1/3. The draw (first, first, third) has the weights
(2, 0, 1) and 2 x 8 + 2 = 18 hits, so IoU = 18 / (30 + 30 - 18) = 3/7. All draws together are one
product of matrices, since sums of counts are the counts of the drawn test set:

Example:
    >>> hits = np.array([8, 5, 2]).reshape(3, 1, 1)  # (scenes, subsets, classes)
    >>> tens = np.full_like(hits, 10)
    >>> units = ResamplingUnits("scenes", ClassCounts(hits, tens, tens), ("a", "b", "c"))
    >>> own = Convention(outputs=(0,), averaged=(0,))
    >>> resample_measures(units, own, np.array([[1, 1, 1], [2, 0, 1]]))[:, 0].round(2).tolist()
    [33.33, 42.86]
    >>> draws = resample_measures(units, own, draw_weights(units=3, samples=100, seed=0))
    >>> percentile_bounds(draws, level=95)[:, 0].round(2).tolist()
    [11.11, 66.67]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.metrics.confusion import (
    ClassCounts,
    Convention,
    Counts,
    Floats,
    Mask,
    class_counts,
)
from benchmark.metrics.result import sum_regions
from benchmark.metrics.summaries import SUMMARIES, average_top1_last1, mean_scores, unseen_subsets
from benchmark.records.groups import SeedGroup
from benchmark.records.record import Record, read_scenes
from benchmark.records.selection import Skipped
from usererror import UserError

# below this, blocks of the scenes are drawn: few scenes give few different draws
FEWEST_SCENES = 10
CHUNK = 2**23  # entries of the largest array of resampled counts, 64 MiB
SCENES, BLOCKS = "scenes", "blocks"


@dataclass(frozen=True)
class ResamplingUnits:
    """What is drawn: scenes, or blocks of scenes."""

    kind: str  # `scenes` or `blocks`
    counts: ClassCounts  # per unit, each `(units, subsets, classes)`
    names: tuple[str, ...]  # per unit, to check that two records are paired
    subsets: tuple[str, ...] = ()

    @property
    def unseen(self) -> Mask:
        """Subsets of which the network sees nothing, `(subsets,)`."""
        scored = np.asarray(self.counts.support.any((0, 2)))
        return unseen_subsets(scored, self.subsets)


@dataclass(frozen=True)
class GroupUnits:
    """A seed group, of those seeds whose counts per scene can be read, and the units of each."""

    group: SeedGroup
    units: tuple[ResamplingUnits, ...]


@dataclass(frozen=True)
class BootstrapSample:
    """The measures of a group in per cent, see `measure_names`."""

    group: SeedGroup
    seeds: Floats  # over all units, `(seeds, measures)`
    draws: Floats  # the mean of the seeds under every draw, `(samples, measures)`


def resampling_units(record: Record, scenes: Mapping[str, Counts]) -> ResamplingUnits:
    """Count per scene, or per block where there are fewer than FEWEST_SCENES with a label."""
    parts = []
    # an axis of the three counts in front, so that scenes and blocks are added up in one go
    for blocks in scenes.values():
        matrices = sum_regions(blocks, record.regions, record.convention.regions)
        counts = class_counts(np.moveaxis(matrices, 1, 0), record.convention)
        parts.append(np.stack(counts))  # (3, blocks, subsets, classes)
    whole = [part.sum(1, keepdims=True) for part in parts]
    kind, names = SCENES, list(scenes)
    if sum(bool(part[1].any()) for part in whole) < FEWEST_SCENES:
        kind, whole, names = BLOCKS, parts, []
        for name, part in zip(scenes, parts, strict=True):
            names += [f"{name}/{block}" for block in range(part.shape[1])]
    units = np.concatenate(whole, 1)
    # a unit without a labelled pixel would make draws that differ in nothing
    labelled = units[1].any((1, 2))
    kept = tuple(np.array(names)[labelled])
    return ResamplingUnits(kind, ClassCounts(*units[:, labelled]), kept, record.subsets)


def read_units(groups: Sequence[SeedGroup], skipped: Skipped) -> list[GroupUnits]:
    """Read the units of all seeds; a record without usable counts per scene is skipped."""
    found = []
    for group in groups:
        members, units = [], []
        for record in group.members:
            try:
                units.append(resampling_units(record, read_scenes(record)))
                members.append(record)
            except UserError as error:
                skipped.add(str(error))
        if members:
            found.append(GroupUnits(replace(group, members=tuple(members)), tuple(units)))
    return found


def check_paired(groups: Sequence[GroupUnits]) -> None:
    """Raise a UserError unless all records have the same units with the same true pixels.

    Of a subset that one of two networks does not see, there is nothing to compare.
    """
    # the truth of a unit is the same for all methods; if it is not, its difference means nothing
    first, origin = groups[0].units[0], groups[0].group.first
    for entry in groups:
        for record, units in zip(entry.group.members, entry.units, strict=True):
            seen = ~(units.unseen | first.unseen)
            pair = units.counts.support[:, seen], first.counts.support[:, seen]
            if units.names != first.names or not np.array_equal(*pair):
                other = f"scenes, blocks or labels than {origin.path}"
                text = f"{record.path} was scored on other {other}, though the fingerprints agree"
                raise UserError(f"{text}; run its cell again with FORCE=1.")


def draw_weights(units: int, samples: int, seed: int) -> Counts:
    """Draw how often each unit is taken, `(samples, units)`; every row sums to `units`."""
    return np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), samples)


def measure_names(group: SeedGroup) -> list[str]:
    """Name the columns of `measure_scores`."""
    return [*SUMMARIES, "Average mF1", *map("mIoU {}".format, group.first.subsets)]


def measure_scores(
    counts: ClassCounts, convention: Convention, subsets: Sequence[str] = ()
) -> Floats:
    """Score counts `(..., subsets, classes)` in per cent, `(..., measures)`."""
    miou, mf1 = mean_scores(counts, convention)
    columns = [*average_top1_last1(miou, subsets), average_top1_last1(mf1, subsets).average]
    return np.concatenate([np.stack(columns, -1), miou], -1)


def resample_measures(units: ResamplingUnits, convention: Convention, weights: Counts) -> Floats:
    """Score every draw, `(samples, measures)`, in pieces that fit into memory."""
    shape = units.counts.hits.shape
    # exact below 2^53 pixels, and products of floats are fast
    parts = np.reshape(units.counts, (3, shape[0], -1)).astype(float)
    step = max(1, CHUNK // (3 * parts.shape[-1]))
    pieces = []
    for start in range(0, len(weights), step):
        drawn = weights[start : start + step]
        counts = ClassCounts(*(drawn @ parts).reshape(3, -1, *shape[1:]))
        pieces.append(measure_scores(counts, convention, units.subsets))
    return np.concatenate(pieces)


def percentile_bounds(values: Floats, level: float) -> Floats:
    """Bound the middle `level` per cent of each column, `(2, columns)`; nan does not count."""
    # a draw that holds no scene with all modalities of a subset has no score
    tail = (100 - level) / 2
    bounds = np.full((2, values.shape[1]), np.nan)
    scored = ~np.isnan(values)
    for column in np.flatnonzero(scored.any(0)):
        draws = values[scored[:, column], column]
        bounds[:, column] = np.percentile(draws, [tail, 100 - tail])
    return bounds


def bootstrap_groups(
    groups: Sequence[GroupUnits], samples: int, seed: int
) -> list[BootstrapSample]:
    """Score groups under the same draws for all."""
    check_paired(groups)
    drawn = groups[0].units[0]
    if len(drawn.names) < 2:
        kind = drawn.kind[:-1]
        raise UserError(f"There is a single {kind} with labels; an interval needs at least two.")
    # one set of draws for all: the bootstrap is paired, which is what makes its intervals narrow
    weights = draw_weights(len(drawn.names), samples, seed)
    found = []
    for entry in groups:
        seeds, draws = [], []
        for record, units in zip(entry.group.members, entry.units, strict=True):
            whole = ClassCounts(*np.sum(units.counts, axis=1))
            seeds.append(measure_scores(whole, record.convention, units.subsets))
            draws.append(resample_measures(units, record.convention, weights))
        # the mean over seeds of each draw, as the table averages seeds
        found.append(BootstrapSample(entry.group, np.array(seeds), np.mean(draws, axis=0)))
    return found
