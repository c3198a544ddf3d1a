"""What an import says of a raster whose values are not those that were published of it."""

from collections.abc import Mapping
from typing import Any

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
        for what, ours, theirs in zip(
            ("mean", "deviation"), pooled_statistics(found), published, strict=True
        ):
            worst = max(zip(ours, theirs, strict=True), key=lambda pair: abs(pair[0] / pair[1] - 1))
            if abs(worst[0] / worst[1] - 1) > TOLERANCE:
                text = (
                    f"{raster}: the training {what} is {_list(ours)}, published is {_list(theirs)}"
                )
                lines.append(f"{text} (factor {worst[0] / worst[1]:.3g}): is this the original?")
    return lines


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
