"""Statistics of a raster over the pixels of several scenes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Statistics = Mapping[str, Mapping[str, Any]]  # {scene: {count, mean, std, p05, ...}}


def pooled_statistics(training: Statistics, lowered: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Pool (mean, std), float64 `(C,)` each, over the pixels of several scenes.

    With `lowered`, of values less their own scene's 5th percentile. A channel without variation
    gets std 1.
    """
    scenes = training.values()
    count = np.array([scene["count"] for scene in scenes], float)[:, None]
    means = np.array([scene["mean"] for scene in scenes], float)
    variances = np.array([scene["std"] for scene in scenes], float) ** 2
    if lowered:
        means = means - np.array([scene["p05"][:1] for scene in scenes], float)
    total = count.sum()
    mean = (count * means).sum(0) / total
    # law of total variance: within scenes, and between their means
    variance = (count * (variances + (means - mean) ** 2)).sum(0) / total
    std = np.sqrt(variance)
    return mean, np.where(std > 1e-6, std, 1.0)
