"""Count confidences, Brier terms and changed pixels of every subset, exactly.

All sums are of whole numbers, so that they depend neither on batches nor on the order of windows or
ranks. `SubsetConfusion` shows what it counts to `SubsetReliability.update`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from benchmark.evaluation import protocol
from benchmark.evaluation.callback import MissingModalityEvaluation
from benchmark.evaluation.subset_confusion import Prediction
from benchmark.metrics.confusion import Convention
from benchmark.metrics.reliability import BINS, UNIT, ReliabilityCounts
from datamodules.store.scene_store import IGNORE

STATES = ("pixels", "hits", "confidence", "brier", "changed")
UNITS = round(1 / UNIT)  # in a probability of 1


class SubsetReliability(Metric):
    """Reliability of a model's probabilities under every subset of its modalities.

    A `torchmetrics.Metric` whose states are int64, which ranks sum. Counted are the pixels that a
    convention scores: those of its regions whose label is not ignored, as in overall accuracy. A
    confidence and a Brier term, computed in float64, enter their sums rounded to `UNIT`, so that
    their means are off by `UNIT / 2` at most.

    `update` waits for no GPU.

    Args:
        subsets: names of the subsets, in the order of the counts.
        labels: number of label ids.
        convention: whose `outputs`, `ignored` and `regions` say what is scored.
        regions: names of the regions, by number.

    Raises:
        ValueError: if the convention scores a label that no output exists for.

    Example:
        >>> convention = Convention(outputs=(0, 1), averaged=(0, 1))
        >>> metric = SubsetReliability(["R", "R+D"], 2, convention)
        >>> full = torch.tensor([[[[0.9, 0.2]], [[0.1, 0.8]]]]).double()
        >>> alone = torch.tensor([[[[0.6, 0.7]], [[0.4, 0.3]]]]).double()
        >>> pairs = [("R", alone, alone.argmax(1)), ("R+D", full, full.argmax(1))]
        >>> metric.update(pairs, torch.tensor([[[0, 1]]]))
        >>> counts = metric.counts()
        >>> counts.hits.sum(1).tolist(), counts.changed.tolist()
        ([1, 2], [[0, 1], [0, 0]])
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = True  # `forward` may not merge states, as in `SubsetConfusion`
    channels: Tensor
    bins: Tensor
    brier: Tensor
    changed: Tensor

    def __init__(
        self,
        subsets: Sequence[str],
        labels: int,
        convention: Convention,
        regions: Sequence[str] = ("interior",),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.subsets = dict(zip(subsets, range(len(subsets)), strict=True))
        # the output of a label in a region, -1 where it is not scored
        channels = torch.full((len(regions), IGNORE + 1), -1)
        for label in set(range(labels)) - set(convention.ignored):
            if label not in convention.outputs:
                raise ValueError(f"label {label} is scored, but no output exists for it")
            for number, region in enumerate(regions):
                if convention.regions is None or region in convention.regions:
                    channels[number, label] = convention.outputs.index(label)
        self.register_buffer("channels", channels, persistent=False)
        # pixels, hits and confidence, and behind the bins what is not scored
        shapes = {"bins": (3, BINS + 1), "brier": (), "changed": (2,)}
        for name, shape in shapes.items():
            zeros = torch.zeros(len(subsets), *shape, dtype=torch.int64)
            self.add_state(name, zeros, dist_reduce_fx="sum")

    def update(
        self, predictions: Iterable[Prediction], label: Tensor, region: Tensor | None = None
    ) -> None:
        """Count pixels under one subset after another, the largest one last.

        Args:
            predictions: subset, float64 probabilities `(B, K, H, W)` and predicted outputs
                `(B, H, W)`. The last one is what others are compared with: all sensors, or of
                scenes that lack one, all that they have. Probabilities are overwritten.
            label: label ids `(B, H, W)`, 255 where a pixel is not scored.
            region: region numbers `(B, H, W)`.
        """
        region = torch.zeros_like(label) if region is None else region
        truth = self.channels[region.long(), label.long()]
        scored = truth >= 0
        seen: list[tuple[int, Tensor]] = []
        for name, probabilities, predicted in predictions:
            subset = self.subsets[name]
            # the giver counts in place afterwards; no network has 2^15 outputs
            seen.append((subset, predicted.to(torch.int16)))
            self._count(subset, probabilities, predicted == truth, truth, scored)
        if not seen:
            return
        full = seen[-1][1]
        right = full == truth
        for subset, predicted in seen:
            differs = scored & (predicted != full)
            self.changed[subset, 0] += (differs & ~right).sum()
            self.changed[subset, 1] += (differs & right).sum()

    def compute(self) -> dict[str, Tensor]:
        """Counts as `ReliabilityCounts` names them."""
        pixels, hits, confidence = self.bins[..., :BINS].unbind(1)
        sums = (pixels, hits, confidence, self.brier, self.changed)
        return dict(zip(STATES, sums, strict=True))

    def counts(self) -> ReliabilityCounts:
        """Counts of all ranks, on the host."""
        sums = self.compute()
        # torchmetrics takes a sum of a single subset for a scalar
        arrays = {name: np.atleast_1d(sums[name].cpu().numpy()) for name in STATES}
        return ReliabilityCounts(tuple(self.subsets), **arrays)

    def _count(
        self, subset: int, probabilities: Tensor, hit: Tensor, truth: Tensor, scored: Tensor
    ) -> None:
        """Count the pixels of one subset."""
        confidence = _in_units(probabilities.amax(1))
        # a bin holds its upper edge; nan, which the evaluation refuses later, has to fit as well
        bins = ((confidence * BINS - 1) // UNITS).clamp_(0, BINS - 1)
        bins = bins.masked_fill_(~scored, BINS).flatten()
        values = torch.stack([scored.long(), hit.long(), confidence]).flatten(1)
        self.bins[subset].scatter_add_(1, bins.expand(3, -1), values)
        # distance to the truth: 1 less where the true class is
        place = truth.clamp(min=0).unsqueeze(1)
        probabilities.scatter_add_(1, place, probabilities.new_full((), -1).expand(place.shape))
        terms = _in_units(probabilities.square_().sum(1))
        self.brier[subset] += terms.masked_fill_(~scored, 0).sum()


def _in_units(values: Tensor) -> Tensor:
    return (values * UNITS).round_().long()


class ReliabilityEvaluation(MissingModalityEvaluation):
    """Scores every subset as `MissingModalityEvaluation` does, and counts `reliability` of a test.

    Example:
        >>> evaluation = ReliabilityEvaluation(stitching="probabilities")
        >>> trainer = L.Trainer(callbacks=[evaluation], logger=False, accelerator="cpu")
        >>> # trainer.test(model, data), then evaluation.reliability
    """

    reliability: ReliabilityCounts | None = None

    def on_test_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Start counting the test scenes."""
        super().on_test_epoch_start(trainer)
        data = protocol.datamodule_of(trainer)
        metric = SubsetReliability(
            list(self.cases(data)),
            len(data.store.classes),
            protocol.convention_of(data, self.absent),
            protocol.counted_regions(self._windows),
        )
        self._reliability = metric.to(trainer.strategy.root_device)
        self._confusion.watch = self._reliability.update

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the counts of all ranks."""
        super().on_test_epoch_end(trainer, pl_module)
        self.reliability = self._reliability.counts()
        del self._reliability
