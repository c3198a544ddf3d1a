"""Statistics and pixel hash of a raster that is seen block of rows after block of rows."""

import hashlib
import math
from functools import partial
from typing import Any

import numpy as np

from datamodules.rasters.units import SAR_LINEAR, Clip, invalid_values, to_decibels

# percentiles of other types than uint8 come from a regular grid of about so many pixels at most
PERCENTILE_PIXELS = 4_000_000
PERCENTILES = {"p05": 0.05, "p95": 0.95}
KEYS = ("mean", "std", "min", "max", *PERCENTILES)


class PixelHash:
    """SHA-256 of dtype, shape and values, whatever the blocks, the file format and the machine."""

    def __init__(self, channels: int, dtype: str) -> None:
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._channels = [hashlib.sha256() for _ in range(channels)]
        self._voids = hashlib.sha256()
        self._has_voids = False
        self._rows = self._width = 0

    def update(self, block: np.ndarray, void: np.ndarray | None = None) -> None:
        """Add the next rows, (C, h, w), and where whole numbers say nothing, (h, w)."""
        for digest, channel in zip(self._channels, block, strict=True):
            digest.update(np.ascontiguousarray(channel, dtype=self._dtype).data)
        # row by row, so that the blocks do not show; rows without voids leave no trace
        if void is not None:
            for row in np.flatnonzero(void.any(axis=1)):
                bits = np.packbits(void[row]).tobytes()
                self._voids.update(f"{self._rows + row} ".encode() + bits)
                self._has_voids = True
        self._rows += block.shape[1]
        self._width = block.shape[2]

    def hexdigest(self) -> str:
        """Return the hash of everything seen."""
        form = f"{self._dtype.kind}{self._dtype.itemsize}"
        text = f"{form} {len(self._channels)} {self._rows} {self._width} "
        text += " ".join(channel.hexdigest() for channel in self._channels)
        if self._has_voids:
            text += f" voids {self._voids.hexdigest()}"
        return hashlib.sha256(text.encode()).hexdigest()


class RasterStatistics:
    """Count, mean, standard deviation (population), minimum, maximum, 5th and 95th percentile.

    Per channel; a pixel is valid unless the file calls it void or a channel holds what its kind
    cannot measure (`invalid_values`; `outside` counts those but for NaN). Linear radar backscatter
    is measured in decibels, as networks are given it. Mean and deviation are accumulated in float64
    (Chan, Golub and LeVeque 1979); percentiles are the smallest value with at least that share of
    the pixels at or below it, exact for uint8 and for rasters of up to `PERCENTILE_PIXELS`.

    Example:
        >>> heights = RasterStatistics(1, "float32", 2, 2, "height_absolute")
        >>> heights.update(np.array([[[30, 40], [50, -9999]]], np.float32))
        >>> found = heights.result()
        >>> found["count"], found["mean"], found["p95"]
        (3, [40.0], [50.0])
    """

    def __init__(
        self, channels: int, dtype: str, height: int, width: int, kind: str, clip_db: Clip = None
    ) -> None:
        """Start with no pixels of a raster of a size; `kind`, `clip_db` are its modality's."""
        self._channels, self._kind = channels, kind
        self._measure = partial(to_decibels, clip=clip_db) if kind == SAR_LINEAR else None
        self._step = max(1, math.ceil(math.sqrt(height * width / PERCENTILE_PIXELS)))
        self._row = self.count = self.outside = 0
        self.outside_range = (np.inf, -np.inf)  # lowest and highest of those values
        self._mean = np.zeros(channels)
        self._m2 = np.zeros(channels)  # sum of squared deviations from the mean
        self._min = np.full(channels, np.inf)
        self._max = np.full(channels, -np.inf)
        self._sample: list[list[np.ndarray]] = [[] for _ in range(channels)]
        is_bytes = np.dtype(dtype) == np.uint8
        self._histogram = np.zeros((channels, 256), np.int64) if is_bytes else None

    def update(self, block: np.ndarray, void: np.ndarray | None = None) -> None:
        """Add the next rows, (C, h, w), and where the file says that they are void, (h, w)."""
        if self._histogram is not None:
            for histogram, channel in zip(self._histogram, block, strict=True):
                histogram += histogram_uint8(channel if void is None else channel[~void])
            self.count += block[0].size if void is None else int((~void).sum())
            return
        invalid = invalid_values(block, self._kind)
        self._count_outside(block, invalid)
        valid = np.logical_not(invalid.any(axis=0))
        if void is not None:
            valid &= ~void
        if self._measure is not None:
            block = self._measure(block)
        added = int(valid.sum())
        # the grid of samples goes on where the last block ended
        grid = slice((-self._row) % self._step, None, self._step), slice(None, None, self._step)
        self._row += block.shape[1]
        if added == 0:
            return
        for c, channel in enumerate(block):
            # selecting copies: left out where every pixel is valid
            chosen = channel if added == valid.size else channel[valid]
            values = chosen.astype(np.float64)
            mean = values.mean()
            delta = mean - self._mean[c]
            total = self.count + added
            values -= mean
            self._m2[c] += np.vdot(values, values) + delta**2 * self.count * added / total
            self._mean[c] += delta * added / total
            self._min[c] = min(self._min[c], chosen.min())
            self._max[c] = max(self._max[c], chosen.max())
            self._sample[c].append(channel[grid][valid[grid]])
        self.count += added

    def _count_outside(self, block: np.ndarray, invalid: np.ndarray) -> None:
        outside = block[invalid]
        outside = outside[~np.isnan(outside)]
        if outside.size:
            self.outside += outside.size
            low, high = self.outside_range
            self.outside_range = min(low, outside.min()), max(high, outside.max())

    def result(self) -> dict[str, Any]:
        """Return the statistics, a value per channel each; None where no pixel is valid."""
        if self._histogram is not None and self.count:
            of_channels = [_histogram_statistics(histogram) for histogram in self._histogram]
            merged = {key: [found[key] for found in of_channels] for key in KEYS}
            return {"count": self.count, **merged}
        if self.count == 0:
            return {"count": 0, **dict.fromkeys(KEYS, [None] * self._channels)}
        found: dict[str, Any] = {"count": self.count, "mean": self._mean.tolist()}
        found["std"] = np.sqrt(self._m2 / self.count).tolist()
        found |= {"min": self._min.tolist(), "max": self._max.tolist()}
        for key, share in PERCENTILES.items():
            samples = map(np.concatenate, self._sample)
            found[key] = [_percentile(sample, share) for sample in samples]
        return found


def histogram_uint8(values: np.ndarray) -> np.ndarray:
    """Return how often each of 0..255 occurs.

    Example:
        >>> histogram_uint8(np.array([[0, 3], [3, 3]], np.uint8))[:4].tolist()
        [1, 0, 0, 3]
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.size < 1 << 20:
        return np.bincount(flat, minlength=256)
    # two bytes at a time: half the steps, and 65,536 counters are few beside a million pixels
    even = flat.size & ~1
    pairs = np.bincount(flat[:even].view(np.uint16), minlength=65536).reshape(256, 256)
    counts = pairs.sum(axis=0) + pairs.sum(axis=1)
    if even < flat.size:
        counts[flat[-1]] += 1
    return counts


def _percentile(values: np.ndarray, share: float) -> float | None:
    if values.size == 0:
        return None
    k = max(0, math.ceil(share * values.size) - 1)
    return float(np.partition(values, k)[k])


def _histogram_statistics(histogram: np.ndarray) -> dict[str, float]:
    total = int(histogram.sum())
    values = np.arange(256, dtype=np.float64)
    mean = float((histogram * values).sum() / total)
    std = math.sqrt(float((histogram * (values - mean) ** 2).sum() / total))
    seen, below = np.flatnonzero(histogram), np.cumsum(histogram)
    found = {"mean": mean, "std": std, "min": float(seen[0]), "max": float(seen[-1])}
    for key, share in PERCENTILES.items():
        found[key] = float(np.searchsorted(below, math.ceil(share * total)))
    return found
