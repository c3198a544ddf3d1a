"""Radar backscatter in decibels, the way DFC2023 is published (dataset dossier, section 5.3)."""

from __future__ import annotations

import numpy as np

SAR_LINEAR = (
    "sar_linear"  # kind of rasters that hold linear backscatter; `sar` holds decibels already
)
EPSILON = 1e-7  # keeps the logarithm of an empty echo finite
LOWEST_DB, HIGHEST_DB = -25.0, 0.0


def to_decibels(linear: np.ndarray) -> np.ndarray:
    """Return `10 log10(max(x, 0) + 1e-7)` clipped to [-25, 0] dB as float32; what is not a number stays so."""
    values = 10 * np.log10(np.maximum(linear, 0, dtype=np.float32) + np.float32(EPSILON))
    return np.clip(values, LOWEST_DB, HIGHEST_DB).astype(np.float32, copy=False)


HEIGHT_FLOOR_M = (
    -100.0
)  # below it a height is "no data", whatever the nodata tag says (dossier 3.3)
