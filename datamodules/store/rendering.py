"""Pictures of rasters: a few hundred pixels of a scene of any size, in values for a screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datamodules.rasters.raster_file import open_raw, read_stored
from datamodules.rasters.units import SAR_LINEAR, invalid_values, to_decibels
from datamodules.store.scene_store import IGNORE, Modality, SceneClass

Array = npt.NDArray[Any]
Colour = tuple[int, int, int]

STRETCH = (2, 98)  # percentiles that become black and white
SPARSE = ("event", "lidar")  # kinds with a few returns on an empty ground
SENTINEL_2 = 13  # bands of its optical pictures, which begin with blue
ROWS = 512  # of a raster that are read at a time, about
# black, magenta, grey, white: the first that no class comes near to
IGNORE_COLOURS: tuple[Colour, ...] = (0, 0, 0), (255, 0, 255), (128, 128, 128), (255, 255, 255)
# colours closer than this (root of the summed squares) cannot be told apart in a small patch
NEAR = 64


@dataclass(frozen=True)
class Picture:
    """A modality as a picture."""

    image: Array  # float (H, W) for one band or (H, W, 3) for colours, in [0, 1]; NaN where invalid
    low: float | None  # of one band, the values that became 0 and 1; None for colours
    high: float | None
    bands: tuple[int, ...]  # that are shown, from 1
    unit: str  # of `low` and `high`


def shown_bands(modality: Modality) -> tuple[int, ...]:
    """Return the bands, from 1, that a picture of a modality shows.

    Example:
        >>> shown_bands(Modality("msi", "M", 13, "uint16", "counts", "optical"))
        (4, 3, 2)
    """
    if modality.kind == "lidar":
        return tuple(range(1, modality.channels + 1))
    if modality.kind == "optical" and modality.channels == SENTINEL_2:
        return 4, 3, 2
    return (1, 2, 3) if modality.channels >= 3 else (1,)


def render_modality(pixels: Array, modality: Modality) -> Picture:
    """Turn stored values of one scene, all (C, H, W) or the `shown_bands`, into a picture.

    Three uint8 bands are colours as they are. Of other rasters the shown bands are stretched, each
    from its 2nd to its 98th percentile. Linear backscatter is shown in decibels, laser returns as
    the strongest band on an empty (0) ground. Invalid pixels (see `invalid_values`) stay out of the
    percentiles.

    Example:
        >>> dsm = Modality("dsm", "D", 1, "float32", "m", "height_absolute")
        >>> shown = render_modality(np.array([[[10.0, 20.0], [30.0, np.nan]]]), dsm)
        >>> shown.image.round(1).tolist(), round(shown.low, 1), shown.unit
        ([[0.0, 0.5], [1.0, nan]], 10.4, 'm')
    """
    unit = modality.unit
    bands = shown_bands(modality)
    if len(pixels) == modality.channels:
        pixels = pixels[[band - 1 for band in bands]]
    invalid = invalid_values(pixels, modality.kind)
    if modality.kind == SAR_LINEAR:
        pixels, unit = to_decibels(pixels, modality.clip_db), "dB"
    if modality.kind == "lidar":
        invalid = np.logical_and.reduce(invalid, keepdims=True)
        pixels = pixels.max(axis=0, keepdims=True)
    elif len(pixels) == 3 and (pixels.dtype == np.uint8 or modality.dtype == "uint8"):
        return Picture(pixels.transpose(1, 2, 0) / 255, None, None, bands, unit)
    shown = pixels.astype(float)
    shown[invalid] = np.nan
    for band in shown:
        low, high = _shown_range(band, modality.kind in SPARSE)
        band[:] = np.clip((band - low) / max(high - low, 1e-6), 0, 1)
    if len(shown) == 3:
        return Picture(shown.transpose(1, 2, 0), None, None, bands, unit)
    return Picture(shown[0], low, high, bands, unit)


def render_range(values: Array, low: Array, high: Array) -> Array:
    """Show values (C, H, W) from `low` to `high`, (C, 1, 1) each: (H, W, 3), or the first band."""
    grey = np.clip((values - low) / np.maximum(high - low, 1e-6), 0, 1)
    return grey[:3].transpose(1, 2, 0) if len(grey) >= 3 else grey[0]


def stretched_range(values: Array) -> tuple[Array, Array]:
    """Return what becomes black and white of each band of values (C, H, W), (C, 1, 1) each."""
    low, high = np.percentile(values, STRETCH, axis=(1, 2), keepdims=True)
    return low, high


def _shown_range(band: Array, sparse: bool) -> tuple[float, float]:
    # of a few returns only what is there: percentiles of all pixels would both be 0
    there = band[np.isfinite(band)]
    if sparse:
        there = there[there != 0]
    if not there.size:
        return 0.0, 0.0
    low, high = np.percentile(there, STRETCH)
    return float(min(0.0, there.min()) if sparse else low), float(high)


def read_downsampled(path: Path, modality: Modality | None, side: int) -> Array:
    """Read a raster with at most `side` pixels a side, (C, H, W), a few hundred rows at a time.

    Blocks of f x f pixels become one: the mean of the valid ones (linear backscatter before
    decibels are taken), the value farthest from 0 for events and laser returns, which are too thin
    for a mean, and the middle one for a label (`modality` None). Only `shown_bands` are read. A
    raster that is small enough is returned as it is stored.
    """
    from rasterio.windows import Window

    bands = [1] if modality is None else list(shown_bands(modality))
    parts = []
    with open_raw(path, str(path)) as dataset:
        height, width = dataset.height, dataset.width
        factor = max(1, -(-max(height, width) // side))
        step = factor * max(1, ROWS // factor)  # whole blocks
        for top in range(0, height, step):
            window = Window(0, top, width, min(step, height - top))
            strip = read_stored(dataset, bands, window)
            parts.append(_shrink_blocks(strip, factor, modality))
    return np.concatenate(parts, axis=1)


def _shrink_blocks(strip: Array, factor: int, modality: Modality | None) -> Array:
    """Make each factor x factor block of (C, h, w) one pixel; edges complete the last blocks."""
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
    valid = ~invalid_values(blocks, modality.kind)
    count = valid.sum(axis=(2, 4))
    total = np.where(valid, blocks, 0).sum(axis=(2, 4), dtype=np.float64)
    mean = np.full(total.shape, np.nan)
    return np.divide(total, count, out=mean, where=count > 0).astype(np.float32)


def ignore_colour(classes: Sequence[SceneClass]) -> Colour:
    """Return a colour for pixels without class that none of the classes comes near to.

    Example:
        >>> ignore_colour([SceneClass(0, "shadow", (10, 10, 10))])
        (255, 0, 255)
    """
    taken = np.array([entry.color for entry in classes], float).reshape(-1, 3)

    def distance(colour: Colour) -> float:
        return float(np.sqrt(((taken - colour) ** 2).sum(axis=1)).min()) if len(taken) else np.inf

    for colour in IGNORE_COLOURS:
        if distance(colour) >= NEAR:
            return colour
    # many classes have taken all four: the colour farthest from all of them
    steps = range(0, 256, 51)
    return max(product(steps, steps, steps), key=distance)


def render_label(ids: Array, classes: Sequence[SceneClass], ignored: Colour) -> Array:
    """Turn label ids (H, W) into colours, uint8 (H, W, 3); what is no class becomes `ignored`."""
    table = np.full((IGNORE + 1, 3), ignored, np.uint8)
    for entry in classes:
        table[entry.id] = entry.color
    return table[ids]
