"""From stored values to network input: a named rule per modality, fitted on training scenes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datamodules.rasters.units import HEIGHTS, SAR_LINEAR, Clip, invalid_values, to_decibels
from datamodules.store.pooling import Statistics, pooled_statistics
from datamodules.store.scene_store import Modality
from usererror import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RULES = ("imagenet", "standard", "lowered", "unit", "range")

Rule = str | Mapping[str, Sequence[float]]


def default_rule(modality: Modality) -> str:
    """Name the rule of a modality that no config sets."""
    if modality.kind == "optical" and modality.channels == 3 and modality.dtype == "uint8":
        return "imagenet"
    return "lowered" if modality.kind in HEIGHTS else "standard"


@dataclass(frozen=True)
class Normalizer:
    """`(x - offset(scene) - mean) / std` per channel, in stored units; linear radar in decibels.

    `mean` and `std` are float32 `(C, 1, 1)`; `offsets` per scene, empty but under the rules
    `lowered` and `range`; `spans` per scene divide, under `range` only; `fill` per scene the 5th
    percentile of each channel, which invalid pixels take; `clip_db` is that of the modality.
    """

    mean: np.ndarray
    std: np.ndarray
    offsets: Mapping[str, float]
    kind: str
    fill: Mapping[str, Sequence[float]]
    spans: Mapping[str, float] = field(default_factory=dict)
    clip_db: Clip = None

    def to_valid(self, pixels: np.ndarray, scene: str) -> np.ndarray:
        """Return float32 `(C, H, W)` in stored units or decibels, invalid values filled.

        This comes before any interpolation, which would spread what is invalid.
        """
        if self.kind == SAR_LINEAR:
            values = to_decibels(pixels, self.clip_db)
        else:
            values = pixels.astype(np.float32)
        invalid = invalid_values(pixels, self.kind)
        if invalid.any():
            for channel, wrong, fill in zip(values, invalid, self.fill[scene], strict=True):
                channel[wrong] = fill
        return values

    def standardize(self, values: np.ndarray, scene: str) -> np.ndarray:
        """Return valid values as the network takes them, float32 `(C, H, W)`."""
        # in place: fresh memory costs more than the arithmetic
        scaled = values - self.offsets.get(scene, 0.0)
        scaled -= self.mean
        scaled /= self.std
        if self.spans:
            scaled /= self.spans[scene]
        return scaled


def fit_normalizer(
    modality: Modality, rule: Rule, training: Statistics, every: Statistics
) -> Normalizer:
    """Fit one of `RULES`, or {"mean": [...], "std": [...]} in stored units, to a raster.

    `training` holds the store's statistics per training scene, `every` those of all scenes that
    will be read. UserError for an unknown rule, or one that does not fit the modality.

    Example:
        >>> nir = Modality("nir", "N", 1, "uint8", "counts", "optical")
        >>> statistics = {"a": {"count": 4, "mean": [60.0], "std": [20.0], "p05": [30.0]}}
        >>> normalizer = fit_normalizer(nir, "standard", statistics, statistics)
        >>> normalizer.standardize(np.array([[[60.0, 100.0]]]), "a").tolist()
        [[[0.0, 2.0]]]
    """
    fill = {scene: statistics["p05"] for scene, statistics in every.items()}
    offsets: dict[str, float] = {}
    spans: dict[str, float] = {}
    if isinstance(rule, Mapping):
        mean, std = _fixed_statistics(modality, rule)
    elif rule == "imagenet":
        if modality.channels != 3 or modality.dtype != "uint8":
            raise _unfit(modality, "'imagenet' needs three uint8 bands; use 'standard'.")
        # published for pixels in [0, 1], stored are bytes
        mean, std = 255 * np.array(IMAGENET_MEAN), 255 * np.array(IMAGENET_STD)
    elif rule == "unit":
        mean, std = np.zeros(modality.channels), np.full(modality.channels, 255.0)
    elif rule == "standard":
        mean, std = pooled_statistics(training)
    elif rule == "lowered":
        # absolute heights of two towns differ by hundreds of metres, those above ground do not
        offsets = {scene: float(low[0]) for scene, low in fill.items()}
        mean, std = pooled_statistics(training, lowered=True)
    elif rule == "range":
        # MoBaNet's heights: 0 at the lowest place of the scene, 1 at the highest
        mean, std = np.zeros(modality.channels), np.ones(modality.channels)
        for scene, found in every.items():
            offsets[scene], spans[scene] = lowest_and_span(found)
    else:
        raise _unfit(modality, f"unknown rule {rule!r}; choose one of {', '.join(RULES)}.")
    mean, std = (values.reshape(-1, 1, 1).astype(np.float32) for values in (mean, std))
    return Normalizer(mean, std, offsets, modality.kind, fill, spans, modality.clip_db)


def lowest_and_span(statistics: Mapping[str, Any]) -> tuple[float, float]:
    """Return the lowest value of a raster, and how far the highest lies above it (flat: 1).

    Example:
        >>> lowest_and_span({"min": [30.0], "max": [50.0]})
        (30.0, 20.0)
    """
    lowest, highest = min(statistics["min"]), max(statistics["max"])
    return float(lowest), float(highest - lowest) or 1.0


def _unfit(modality: Modality, problem: str) -> UserError:
    return UserError(f"normalization of {modality.name}: {problem}")


def _fixed_statistics(
    modality: Modality, rule: Mapping[str, Sequence[float]]
) -> tuple[np.ndarray, np.ndarray]:
    channels = [len(rule.get(key, ())) for key in ("mean", "std")]
    if len(rule) != 2 or channels != [modality.channels] * 2:
        raise _unfit(modality, f"give mean and std, {modality.channels} numbers each.")
    return np.asarray(rule["mean"], float), np.asarray(rule["std"], float)
