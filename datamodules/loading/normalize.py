"""From stored values to network input: one named rule per modality, fitted on the training scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datamodules.store.scene_store import Modality
from datamodules.store.units import HEIGHT_FLOOR_M, SAR_LINEAR, decibels
from usererror import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RULES = ("imagenet", "standard", "lowered", "unit")
HEIGHTS = ("height_absolute", "height_normalised")

Rule = str | Mapping[str, Sequence[float]]


def default_rule(modality: Modality) -> str:
    """ImageNet for three optical bands, heights lowered, training statistics otherwise."""
    if modality.kind == "optical" and modality.channels == 3 and modality.dtype == "uint8":
        return "imagenet"
    return "lowered" if modality.kind in HEIGHTS else "standard"


@dataclass(frozen=True)
class Normalizer:
    """`(x - offset(scene) - mean) / std` per channel, in stored units, linear radar backscatter first in decibels.

    Attributes:
        mean, std: float32 C x 1 x 1.
        offsets: value subtracted first, per scene (the scene's 5th percentile under the rule `lowered`), else empty.
        kind: of the modality; a height below -100 m is as invalid as a value that is not finite.
        fill: the scene's 5th percentile per channel, which invalid pixels take.
    """

    mean: np.ndarray
    std: np.ndarray
    offsets: Mapping[str, float]
    kind: str
    fill: Mapping[str, Sequence[float]]

    def to_valid(self, pixels: np.ndarray, scene: str) -> np.ndarray:
        """float32 C x H x W in stored units or decibels, without invalid values (do this before any interpolation)."""
        values = decibels(pixels) if self.kind == SAR_LINEAR else pixels.astype(np.float32)
        if np.issubdtype(pixels.dtype, np.floating):
            invalid = ~np.isfinite(values)
            if self.kind in HEIGHTS:
                invalid |= values < HEIGHT_FLOOR_M
            if invalid.any():
                for channel, wrong, fill in zip(values, invalid, self.fill[scene], strict=True):
                    channel[wrong] = fill
        return values

    def standardize(self, values: np.ndarray, scene: str) -> np.ndarray:
        """float32 C x H x W as the network takes it, from clean values."""
        return (values - self.offsets.get(scene, 0.0) - self.mean) / self.std


def fit_normalizer(
    modality: Modality,
    rule: Rule,
    training: Mapping[str, Mapping[str, Any]],
    every: Mapping[str, Mapping[str, Any]],
) -> Normalizer:
    """A normaliser for one modality.

    Args:
        modality: the raster's description.
        rule: one of `RULES`, or {"mean": [...], "std": [...]} in stored units.
        training: the store's statistics of this raster per training scene (count, mean, std, p05 per channel).
        every: the same for all scenes that will be read.

    Raises:
        UserError: unknown rule, or a rule that does not fit the modality.
    """
    fill = {scene: stats["p05"] for scene, stats in every.items()}
    offsets = {scene: float(low[0]) for scene, low in fill.items()} if rule == "lowered" else {}
    if isinstance(rule, Mapping):
        mean, std = _fixed(modality, rule)
    elif rule == "imagenet":
        if modality.channels != 3 or modality.dtype != "uint8":
            raise UserError(
                f"normalization of {modality.name}: 'imagenet' needs three uint8 bands; use 'standard'."
            )
        mean, std = 255 * np.array(IMAGENET_MEAN), 255 * np.array(IMAGENET_STD)
    elif rule == "unit":
        mean, std = np.zeros(modality.channels), np.full(modality.channels, 255.0)
    elif rule in ("standard", "lowered"):
        mean, std = pooled_statistics(training, lowered=rule == "lowered")
    else:
        raise UserError(
            f"normalization of {modality.name}: unknown rule {rule!r}; choose one of {', '.join(RULES)}."
        )
    shape = (-1, 1, 1)
    return Normalizer(
        mean.reshape(shape).astype(np.float32),
        std.reshape(shape).astype(np.float32),
        offsets,
        modality.kind,
        fill,
    )


def _fixed(
    modality: Modality, rule: Mapping[str, Sequence[float]]
) -> tuple[np.ndarray, np.ndarray]:
    if set(rule) != {"mean", "std"} or any(len(rule[key]) != modality.channels for key in rule):
        raise UserError(
            f"normalization of {modality.name}: give mean and std, {modality.channels} numbers each."
        )
    return np.asarray(rule["mean"], float), np.asarray(rule["std"], float)


def pooled_statistics(
    training: Mapping[str, Mapping[str, Any]], lowered: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel over the pixels of several scenes (law of total variance).

    With `lowered`, of the values less their own scene's 5th percentile. A channel without variation gets std 1.
    """
    count = np.array([stats["count"] for stats in training.values()], float)[:, None]
    means = np.array([stats["mean"] for stats in training.values()], float)
    variances = np.array([stats["std"] for stats in training.values()], float) ** 2
    if lowered:
        means = means - np.array([stats["p05"][:1] for stats in training.values()], float)
    total = count.sum()
    mean = (count * means).sum(0) / total
    variance = (count * (variances + (means - mean) ** 2)).sum(0) / total
    std = np.sqrt(variance)
    return mean, np.where(std > 1e-6, std, 1.0)
