"""What an evaluation yields: counts per scene, and their sums per condition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.metrics.confusion import Convention, Counts, Scores, score_matrices

ALL = "all"


@dataclass(frozen=True)
class EvaluationResult:
    """Counts of every scene under every subset."""

    subsets: tuple[str, ...]  # names such as `R+D`, in table order
    scenes: tuple[str, ...]
    conditions: Mapping[str, Sequence[str]]  # of each scene (`weather=night`), besides `all`
    regions: tuple[str, ...]  # `interior`, and `band` where an eroded label exists
    labels: tuple[str, ...]  # class names by label id
    counts: Sequence[Counts]  # per scene int64 `(subsets, blocks, regions, labels, outputs)`
    scored: np.ndarray  # bool `(subsets, scenes)`; False where a modality is lacking

    def pooled(self) -> tuple[tuple[str, ...], Counts, np.ndarray]:
        """Add up blocks and scenes: names of the conditions, counts `(subsets, conditions,
        regions, labels, outputs)`, and numbers of scored scenes `(subsets, conditions)`.
        """
        own = set[str]().union(*(self.conditions.get(scene, ()) for scene in self.scenes))
        names = [ALL, *sorted(own)]
        axes = self.counts[0].shape[2:]
        pooled = np.zeros((len(self.subsets), len(names), *axes), np.int64)
        scored = np.zeros((len(self.subsets), len(names)), np.int64)
        # counts add up, scores do not: a condition is scored on the sum of its scenes
        for number, scene in enumerate(self.scenes):
            for name in (ALL, *self.conditions.get(scene, ())):
                pooled[:, names.index(name)] += self.counts[number].sum(1)
                scored[:, names.index(name)] += self.scored[:, number]
        return tuple(names), pooled, scored

    def scores(self, convention: Convention) -> dict[str, Scores]:
        """Score every subset over all scenes."""
        _, pooled, _ = self.pooled()
        matrices = sum_regions(pooled[:, 0], self.regions, convention.regions)
        return dict(zip(self.subsets, score_matrices(matrices, convention), strict=True))


def sum_regions(counts: Counts, regions: Sequence[str], scored: Sequence[str] | None) -> Counts:
    """Add up the scored regions (None: all) of counts `(..., regions, labels, outputs)`."""
    chosen = list(map(list(regions).index, scored or regions))
    return np.asarray(counts[..., chosen, :, :].sum(-3, dtype=np.int64))
