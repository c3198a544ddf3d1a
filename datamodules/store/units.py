"""Units of stored values: radar backscatter, and heights that mean "no data"."""

import numpy as np

SAR_LINEAR = "sar_linear"  # kind of rasters with linear backscatter; `sar` holds decibels already
EPSILON = 1e-7  # keeps the logarithm of an empty echo finite
LOWEST_DB, HIGHEST_DB = -25.0, 0.0  # as DFC2023 is published (dossier 5.3)
# below it a height is "no data", whatever the nodata tag says (dossier 3.3)
HEIGHT_FLOOR_M = -100.0


def to_decibels(linear: np.ndarray) -> np.ndarray:
    """Return `10 log10(max(x, 0) + 1e-7)` clipped to [-25, 0] dB as float32; NaN stays NaN.

    Example:
        >>> to_decibels(np.array([0.1, -3.0, 4.0])).round(3).tolist()
        [-10.0, -25.0, 0.0]
    """
    values = 10 * np.log10(np.maximum(linear, 0, dtype=np.float32) + np.float32(EPSILON))
    return np.clip(values, LOWEST_DB, HIGHEST_DB).astype(np.float32, copy=False)
