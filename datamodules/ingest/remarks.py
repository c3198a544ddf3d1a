"""What an import says of the values it has read: void pixels, statistics not as published."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from datamodules.ingest.plan import ImportPlan
from datamodules.store.pooling import pooled_statistics
from datamodules.store.scene_store import Scene

TOLERANCE = 0.02  # of a mean or deviation; another scale is a factor, not a difference


def describe_voids(
    plan: ImportPlan, scenes: list[Scene], statistics: dict[str, dict[str, Any]]
) -> list[str]:
    """Say of each modality which share of its pixels holds no value, and where most of them are."""
    lines = []
    for modality in plan.modalities:
        pixels = voids = 0
        holed: dict[str, float] = {}
        for scene in scenes:
            if (found := statistics[scene.id].get(modality.name)) is None:
                continue
            area = scene.height * scene.width
            pixels, voids = pixels + area, voids + area - found["count"]
            if found["count"] < area:
                holed[scene.id] = 1 - found["count"] / area
        if voids:
            worst = max(holed, key=lambda scene: holed[scene])
            text = f"{modality.name}: {100 * voids / pixels:.2f} % of the pixels are void, in"
            text += f" {len(holed)} scene(s), most in {worst} ({100 * holed[worst]:.2f} %)"
            lines.append(f"{text}: they are filled by the scene's 5th percentile")
    return lines


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
