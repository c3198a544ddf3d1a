"""Units of stored values: radar backscatter, and which values no sensor can have measured."""

from collections.abc import Sequence

import numpy as np

Clip = Sequence[tuple[float, float]] | None  # lowest and highest decibels per channel

SAR_LINEAR = "sar_linear"  # kind of rasters with linear backscatter; `sar` holds decibels already
EPSILON = 1e-7  # keeps the logarithm of an empty echo finite
# where a dataset names no other clip: as DFC2023 is published (dossier 5.3)
LOWEST_DB, HIGHEST_DB = -25.0, 0.0
# below it a height is "no data", whatever the nodata tag says (dossier 3.3)
HEIGHT_FLOOR_M = -100.0
HEIGHT_CEILING_M = 9000.0  # above it there is no ground
HEIGHTS = ("height_absolute", "height_normalised")
LARGEST = 1e30  # fills such as 3.4e38 lie beyond it in any unit
# what fills lie outside of, and measurements inside: -9999 is no reflectance of any scale
RANGES = {
    **dict.fromkeys(HEIGHTS, (HEIGHT_FLOOR_M, HEIGHT_CEILING_M)),
    "sar": (-100.0, 100.0),
    SAR_LINEAR: (-1000.0, LARGEST),  # subtracted noise leaves small negative ones
    "optical": (-9000.0, LARGEST),
}


def invalid_values(values: np.ndarray, kind: str) -> np.ndarray:
    """Tell which values no sensor of a kind can have measured, whatever the file says of them.

    Example:
        >>> invalid_values(np.array([-32768, -3, 412], np.int16), "height_absolute").tolist()
        [True, False, False]
        >>> invalid_values(np.array([np.nan, 3.4e38, -9999], np.float32), "sar").tolist()
        [True, True, True]
    """
    low, high = RANGES.get(kind, (-LARGEST, LARGEST))
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            return np.asarray(~((values >= low) & (values <= high)))
    invalid = np.zeros(values.shape, bool)
    if values.dtype.kind == "i":
        invalid |= values < low
    # whole numbers may count centimetres: their largest value is what fills take
    if kind in HEIGHTS and values.dtype.itemsize > 1:
        invalid |= values == np.iinfo(values.dtype).max
    return invalid


def to_decibels(linear: np.ndarray, clip: Clip = None) -> np.ndarray:
    """Return `10 log10(max(x, 0) + 1e-7)` of (C, ...), clipped, as float32; NaN stays NaN.

    Example:
        >>> to_decibels(np.array([0.1, -3.0, 4.0])).round(3).tolist()
        [-10.0, -25.0, 0.0]
    """
    values = 10 * np.log10(np.maximum(linear, 0, dtype=np.float32) + np.float32(EPSILON))
    return clip_decibels(values, clip).astype(np.float32, copy=False)


def clip_decibels(values: np.ndarray, clip: Clip) -> np.ndarray:
    """Cut decibels (C, ...) to the range of each channel; without one, to [-25, 0].

    A `clip` for more channels than there are is that of the first ones.

    Example:
        >>> clip_decibels(np.array([[-40.0, 3.0], [-40.0, 3.0]]), [(-30, 0), (-35, -5)]).tolist()
        [[-30.0, 0.0], [-35.0, -5.0]]
    """
    if clip is None:
        return np.clip(values, LOWEST_DB, HIGHEST_DB)
    shape = 2, len(values), *[1] * (values.ndim - 1)
    low, high = np.array(clip[: len(values)], np.float32).T.reshape(shape)
    return np.clip(values, low, high)
