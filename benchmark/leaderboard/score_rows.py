"""The scores behind a row of the leaderboard: a seed group under one condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmark.metrics.confusion import Counts, Floats
from benchmark.metrics.result import ALL
from benchmark.metrics.summaries import SubsetSummary, average_top1_last1, unseen_subsets
from benchmark.records.groups import SeedGroup
from benchmark.records.manifest import Protocol


@dataclass(frozen=True)
class ScoreRow:
    """Scores in per cent, each `(seeds, subsets)`; nan where no test scene has all modalities.

    And where the network sees none of them; it has no `summary` then.
    """

    group: SeedGroup
    condition: str  # of the test scenes (`weather=night`), or `all`
    miou: Floats  # this and the next three as in `metrics.confusion.Scores`
    mf1: Floats
    oa: Floats
    oa_all: Floats
    entered: Counts  # classes in the means

    @classmethod
    def of_group(cls, group: SeedGroup, condition: str = ALL) -> ScoreRow:
        """Score every seed of a group."""
        numbers = []
        for record in group.members:
            for entry in record.scores(condition).values():
                numbers.append((entry.miou, entry.mf1, entry.oa, entry.oa_all, entry.classes))
        by_seed = np.reshape(numbers, (len(group.members), -1, 5))
        miou, mf1, oa, oa_all, entered = np.moveaxis(by_seed, -1, 0)
        # tables are in per cent, metrics in [0, 1]
        scores = (100 * miou, 100 * mf1, 100 * oa, 100 * oa_all)
        return cls(group, condition, *scores, entered.astype(np.int64))

    @property
    def protocol(self) -> Protocol:
        """How all seeds were trained and scored."""
        return self.group.manifest.protocol

    @property
    def subsets(self) -> tuple[str, ...]:
        """Names of the subsets."""
        return self.group.first.subsets

    @cached_property
    def summary(self) -> SubsetSummary:
        """Average, Top-1 and Last-1 of each seed: seeds are summarised first and averaged after."""
        return average_top1_last1(self.miou, self.subsets)

    @property
    def best_worst(self) -> tuple[str, str]:
        """Best and worst subset of the mean over seeds, empty where there is no summary."""
        # not what is worst most often: seeds may differ in that
        mean = self.miou.mean(0)
        # a subset that one seed has no score of has none in the mean either
        if np.isnan(mean).all() or np.isnan(self.summary.average.mean()):
            return "", ""
        return self.subsets[np.nanargmax(mean)], self.subsets[np.nanargmin(mean)]

    @property
    def classes(self) -> str:
        """How many classes entered the means, `4 to 5 of 5`: not all need be in every scene."""
        entered = self.entered[:, ~np.isnan(self.miou.mean(0))]
        numbers = sorted({entered.min(), entered.max()}) if entered.size else [0]
        return f"{' to '.join(map(str, numbers))} of {len(self.group.classes)}"

    @property
    def scenes(self) -> list[int]:
        """Scored test scenes of each subset."""
        record = self.group.first
        scored: list[int] = record.scored[:, record.conditions.index(self.condition)].tolist()
        return scored

    @property
    def unseen(self) -> list[str]:
        """Subsets of which the network sees nothing."""
        blind = unseen_subsets(np.array(self.scenes) > 0, self.subsets)
        return [name for name, unseen in zip(self.subsets, blind, strict=True) if unseen]


def leaderboard_rows(groups: Sequence[SeedGroup]) -> list[ScoreRow]:
    """Score groups of one fingerprint, best Average first."""
    rows = map(ScoreRow.of_group, groups)
    # nan compares with nothing: a row without any score comes last
    return sorted(rows, key=lambda row: -np.nan_to_num(row.summary.average.mean(), nan=-np.inf))


def condition_rows(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """Score the groups of a leaderboard once per condition; none where no scene has a condition."""
    if all(row.group.first.conditions == (ALL,) for row in rows):
        return []
    split = []
    for row in rows:
        split += [ScoreRow.of_group(row.group, name) for name in row.group.first.conditions]
    return split
