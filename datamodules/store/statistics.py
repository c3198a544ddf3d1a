"""Statistics and pixel hash of a raster that is seen block of rows after block of rows, in bounded memory."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from datamodules.store.units import HEIGHT_FLOOR_M, SAR_LINEAR, to_decibels

PERCENTILE_PIXELS = 4_000_000  # percentiles of other types than uint8 come from a regular grid of about so many pixels at most


class PixelHash:
    """SHA-256 of dtype, shape and values, independent of the size of the blocks, the file format and the machine."""

    def __init__(self, channels: int, dtype: str) -> None:
        """Start with no pixels."""
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._channels = [hashlib.sha256() for _ in range(channels)]
        self._rows = self._width = 0

    def update(self, block: np.ndarray) -> None:
        """Add the next rows, C x h x w."""
        for digest, channel in zip(self._channels, block, strict=True):
            digest.update(np.ascontiguousarray(channel, dtype=self._dtype).data)
        self._rows += block.shape[1]
        self._width = block.shape[2]

    def hexdigest(self) -> str:
        """Return the hash of everything seen."""
        head = f"{self._dtype.kind}{self._dtype.itemsize} {len(self._channels)} {self._rows} {self._width} "
        return hashlib.sha256(
            (head + " ".join(c.hexdigest() for c in self._channels)).encode()
        ).hexdigest()


class LabelCounts:
    """Counts of label values 0..255."""

    def __init__(self) -> None:
        """Start with no pixels."""
        self.counts = np.zeros(256, np.int64)

    def update(self, block: np.ndarray) -> None:
        """Add the next rows, 1 x h x w uint8."""
        self.counts += histogram_uint8(block)

    def result(self, classes: int) -> dict[str, Any]:
        """Return {"counts": {id: n}} with an entry for each class and for 255."""
        return {"counts": {str(i): int(self.counts[i]) for i in [*range(classes), 255]}}


class RasterStatistics:
    """Count, mean, standard deviation (population), minimum, maximum, 5th and 95th percentile per channel.

    A pixel is valid when all its channels are finite and, for heights, above -100 m. Linear radar backscatter is
    measured in decibels, as networks are given it. Mean and deviation are accumulated in float64, block by block (Chan,
    Golub and LeVeque 1979); percentiles are the smallest value with at least that share of the pixels at or below it,
    exact for uint8 and for rasters of up to `PERCENTILE_PIXELS`.
    """

    def __init__(self, channels: int, dtype: str, height: int, width: int, kind: str) -> None:
        """Start with no pixels of a raster of the given size; `kind` is that of its modality."""
        self._channels, self._is_height = channels, kind.startswith("height")
        self._measure = to_decibels if kind == SAR_LINEAR else None
        self._step = max(1, math.ceil(math.sqrt(height * width / PERCENTILE_PIXELS)))
        self._row = self.count = 0
        self._mean = np.zeros(channels)
        self._m2 = np.zeros(channels)
        self._min = np.full(channels, np.inf)
        self._max = np.full(channels, -np.inf)
        self._sample: list[list[np.ndarray]] = [[] for _ in range(channels)]
        self._histogram = (
            np.zeros((channels, 256), np.int64) if np.dtype(dtype) == np.uint8 else None
        )

    def update(self, block: np.ndarray) -> None:
        """Add the next rows, C x h x w."""
        if self._histogram is not None:
            for histogram, channel in zip(self._histogram, block, strict=True):
                histogram += histogram_uint8(channel)
            self.count += block.shape[1] * block.shape[2]
            return
        if self._measure is not None:
            block = self._measure(block)
        valid = np.isfinite(block).all(axis=0)
        if self._is_height:
            valid &= (block > HEIGHT_FLOOR_M).all(axis=0)
        whole = bool(valid.all())
        added = int(valid.sum())
        rows = slice((-self._row) % self._step, None, self._step)
        self._row += block.shape[1]
        if added == 0:
            return
        for c, channel in enumerate(block):
            values = (channel if whole else channel[valid]).astype(np.float64)
            mean = values.mean()
            delta = mean - self._mean[c]
            total = self.count + added
            values -= mean
            self._m2[c] += np.vdot(values, values) + delta**2 * self.count * added / total
            self._mean[c] += delta * added / total
            self._min[c] = min(self._min[c], channel.min() if whole else channel[valid].min())
            self._max[c] = max(self._max[c], channel.max() if whole else channel[valid].max())
            grid = channel[rows, :: self._step]
            self._sample[c].append(grid[valid[rows, :: self._step]])
        self.count += added

    def result(self) -> dict[str, Any]:
        """Return the statistics as plain numbers; lists hold one value per channel, null where no pixel is valid."""
        if self._histogram is not None:
            return {"count": self.count, **_merge(_of_histogram(h) for h in self._histogram)}
        if self.count == 0:
            nothing = [None] * self._channels
            return {
                "count": 0,
                **{key: nothing for key in ("mean", "std", "min", "max", "p05", "p95")},
            }
        samples = [np.concatenate(sample) for sample in self._sample]
        return {
            "count": self.count,
            "mean": self._mean.tolist(),
            "std": np.sqrt(self._m2 / self.count).tolist(),
            "min": self._min.tolist(),
            "max": self._max.tolist(),
            "p05": [_percentile(sample, 0.05) for sample in samples],
            "p95": [_percentile(sample, 0.95) for sample in samples],
        }


def histogram_uint8(values: np.ndarray) -> np.ndarray:
    """Return how often each of 0..255 occurs; counts two bytes at a time where that halves the work."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.size < 1 << 20:
        return np.bincount(flat, minlength=256)
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


def _of_histogram(histogram: np.ndarray) -> dict[str, float]:
    total = int(histogram.sum())
    values = np.arange(256, dtype=np.float64)
    mean = float((histogram * values).sum() / total)
    seen = np.flatnonzero(histogram)
    below = np.cumsum(histogram)
    return {
        "mean": mean,
        "std": math.sqrt(float((histogram * (values - mean) ** 2).sum() / total)),
        "min": float(seen[0]),
        "max": float(seen[-1]),
        "p05": float(np.searchsorted(below, math.ceil(0.05 * total))),
        "p95": float(np.searchsorted(below, math.ceil(0.95 * total))),
    }


def _merge(parts: Any) -> dict[str, list[float]]:
    parts = list(parts)
    return {key: [part[key] for part in parts] for key in parts[0]}
