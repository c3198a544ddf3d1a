"""Pictures of rasters: a few hundred pixels from a scene of any size, in values that a screen can show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datamodules.store.raster_file import open_raw, unreadable_error
from datamodules.store.scene_store import IGNORE, Modality, SceneClass
from datamodules.store.units import HEIGHT_FLOOR_M, SAR_LINEAR, to_decibels

Array = npt.NDArray[Any]

STRETCH = (2, 98)  # percentiles that become black and white
SPARSE = ("event", "lidar")  # kinds with a few returns on an empty ground
IGNORE_COLOURS = (
    (0, 0, 0),
    (255, 0, 255),
    (128, 128, 128),
    (255, 255, 255),
)  # the first that no class comes near to
NEAR = 64  # colours closer than this (root of the summed squares) cannot be told apart in a small patch


@dataclass(frozen=True)
class Picture:
    """A modality as a picture.

    Attributes:
        image: float H x W (one band) or H x W x 3 (colours) in [0, 1]; not a number where a pixel is invalid.
        low, high: of one band, the values that became 0 and 1; None for colours.
        bands: numbers of the bands that are shown, from 1.
        unit: of `low` and `high`.
    """

    image: Array
    low: float | None
    high: float | None
    bands: tuple[int, ...]
    unit: str


def render_modality(pixels: Array, modality: Modality) -> Picture:
    """Turn stored values C x H x W of one scene into a picture.

    Three uint8 bands are colours as they are. Of other rasters with three bands or more the first three are stretched,
    each from its 2nd to its 98th percentile, of those with fewer the first. Linear backscatter is shown in decibels,
    laser returns as the strongest band on an empty (0) ground. Invalid pixels (not finite, heights below -100 m) stay
    out of the percentiles and become not a number.
    """
    unit = modality.unit
    if modality.kind == SAR_LINEAR:
        pixels, unit = to_decibels(pixels), "dB"
    if modality.kind == "lidar":
        pixels = pixels.max(axis=0, keepdims=True)
    elif len(pixels) == 3 and pixels.dtype == np.uint8:
        return Picture(pixels.transpose(1, 2, 0) / 255, None, None, (1, 2, 3), unit)
    shown = pixels[: 3 if len(pixels) >= 3 else 1].astype(float)
    shown[~np.isfinite(shown)] = np.nan
    if modality.kind.startswith("height"):
        shown[shown < HEIGHT_FLOOR_M] = np.nan
    ranges = [_returns(band) if modality.kind in SPARSE else _range(band) for band in shown]
    stretched = [
        np.clip((band - low) / max(high - low, 1e-6), 0, 1)
        for band, (low, high) in zip(shown, ranges, strict=True)
    ]
    if len(stretched) == 3:
        return Picture(np.stack(stretched, axis=-1), None, None, (1, 2, 3), unit)
    bands = tuple(range(1, modality.channels + 1)) if modality.kind == "lidar" else (1,)
    return Picture(stretched[0], *ranges[0], bands, unit)


def _range(band: Array) -> tuple[float, float]:
    if not np.isfinite(band).any():
        return 0.0, 0.0
    low, high = np.nanpercentile(band, STRETCH)
    return float(low), float(high)


def _returns(band: Array) -> tuple[float, float]:
    """From nothing to the 98th percentile of what is there: percentiles of all pixels would both be 0."""
    there = band[np.isfinite(band) & (band != 0)]
    if not there.size:
        return 0.0, 0.0
    return min(0.0, float(there.min())), float(np.percentile(there, STRETCH[1]))


def read_downsampled(path: Path, modality: Modality | None, side: int) -> Array:
    """Read a raster with at most `side` pixels a side, C x H x W, holding no more than a few hundred rows of it.

    Blocks of f x f pixels become one: the mean of the valid ones (linear backscatter before decibels are taken), the
    value farthest from 0 for events and laser returns, which are too thin for a mean, and the middle one for a label
    (`modality` None). At most the first three bands are read, of laser returns all bands of the modality. A raster
    that is small enough is returned as it is stored.

    Raises:
        UserError: the file cannot be opened or read.
    """
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    channels = 1 if modality is None else modality.channels
    bands = list(
        range(1, (channels if modality and modality.kind == "lidar" else min(3, channels)) + 1)
    )
    parts = []
    with open_raw(path, str(path)) as dataset:
        factor = max(1, -(-max(dataset.height, dataset.width) // side))
        for top, rows in _strips(dataset.height, factor):
            try:
                strip = dataset.read(bands, window=Window(0, top, dataset.width, rows))
            except RasterioError as error:
                raise unreadable_error(str(path), error) from error
            parts.append(_shrink(strip, factor, modality))
    return np.concatenate(parts, axis=1)


def _strips(height: int, factor: int) -> Iterator[tuple[int, int]]:
    rows = factor * max(1, 512 // factor)
    for top in range(0, height, rows):
        yield top, min(rows, height - top)


def _shrink(strip: Array, factor: int, modality: Modality | None) -> Array:
    """C x h x w with each factor x factor block as one pixel; incomplete blocks repeat the strip's edge."""
    if factor == 1:
        return strip
    height, width = strip.shape[1:]
    strip = np.pad(strip, ((0, 0), (0, -height % factor), (0, -width % factor)), mode="edge")
    if modality is None:
        return strip[:, factor // 2 :: factor, factor // 2 :: factor]
    blocks = strip.reshape(len(strip), strip.shape[1] // factor, factor, -1, factor)
    if modality.kind in SPARSE:
        high, low = blocks.max(axis=(2, 4)), blocks.min(axis=(2, 4))
        return high if blocks.dtype.kind == "u" else np.where(high >= -low, high, low)
    if blocks.dtype.kind != "f":
        mean = blocks.mean(axis=(2, 4), dtype=np.float32)
        return mean.round().astype(strip.dtype)
    valid = np.isfinite(blocks)
    if modality.kind.startswith("height"):
        valid &= blocks >= HEIGHT_FLOOR_M
    count = valid.sum(axis=(2, 4))
    total = np.where(valid, blocks, 0).sum(axis=(2, 4), dtype=np.float64)
    mean = np.full(total.shape, np.nan)
    return np.divide(total, count, out=mean, where=count > 0).astype(np.float32)


def ignore_colour(classes: Sequence[SceneClass]) -> tuple[int, int, int]:
    """Return a colour for pixels without class that none of the classes comes near to."""
    taken = np.array([entry.color for entry in classes], float).reshape(-1, 3)

    def distance(colour: tuple[int, int, int]) -> float:
        return float(np.sqrt(((taken - colour) ** 2).sum(axis=1)).min()) if len(taken) else np.inf

    for colour in IGNORE_COLOURS:
        if distance(colour) >= NEAR:
            return colour
    steps = range(0, 256, 51)
    return max(((r, g, b) for r in steps for g in steps for b in steps), key=distance)


def render_label(
    ids: Array, classes: Sequence[SceneClass], ignored: tuple[int, int, int]
) -> Array:
    """Return label ids H x W as colours, uint8 H x W x 3; everything that is no class has the colour `ignored`."""
    table = np.full((IGNORE + 1, 3), ignored, np.uint8)
    for entry in classes:
        table[entry.id] = entry.color
    return table[ids]
