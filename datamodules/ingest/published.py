"""What an import says of a raster whose values are not those that were published of it."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from datamodules.ingest.plan import ImportPlan
from datamodules.store.pooling import pooled_statistics

TOLERANCE = 0.02  # of a mean or deviation; another scale is a factor, not a difference


def compare_published(plan: ImportPlan, statistics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line per raster whose training statistics differ from the published by over 2 %."""
    column = next(iter(plan.splits))
    training = [scene.id for scene in plan.scenes if scene.splits[column] == "train"]
    lines = []
    for raster, published in plan.published.items():
        found = {id_: statistics[id_][raster] for id_ in training if raster in statistics[id_]}
        pairs = zip(("mean", "deviation"), pooled_statistics(found), published, strict=True)
        for what, ours, theirs in pairs:
            factors = np.divide(ours, theirs)
            worst = factors[np.abs(factors - 1).argmax()]
            if abs(worst - 1) > TOLERANCE:
                text = f"{raster}: the training {what} is {_list(ours)}"
                text += f", published is {_list(theirs)} (factor {worst:.3g})"
                lines.append(f"{text}: is this the original?")
    return lines


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
