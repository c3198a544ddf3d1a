"""Rasters of the store as GeoTIFF: written whole or not at all, read back, then renamed."""

import logging
import shutil
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from datamodules.rasters.placement import Grid
from datamodules.rasters.raster_errors import GDAL_ERRORS
from datamodules.rasters.raster_file import one_line
from datamodules.rasters.source_raster import Pixels
from datamodules.store.part_files import FULL_DISK, whole_file
from datamodules.store.scene_store import SceneClass
from usererror import UserError

TILE = 256


def write_tiff(
    target: Path,
    blocks: Iterator[Pixels],
    size: tuple[int, int],
    dtype: str,
    place: Grid,
    palette: Sequence[SceneClass],
) -> None:
    """Write blocks of rows as an uncompressed tiled GeoTIFF at a place on the ground.

    Where whole numbers are void it gets a mask inside, and with classes a `palette`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # decoded before the file exists: a damaged source leaves none behind
    first = next(blocks)
    height, width = size
    profile = {"driver": "GTiff", "width": width, "height": height, "count": len(first[0])}
    # bands apart, because a modality may need one of several
    profile |= {"dtype": dtype, "interleave": "band", "bigtiff": "if_safer"}
    profile |= {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "crs": place.crs}
    if place.transform is not None:
        profile["transform"] = place.transform
    checks: list[tuple[Window, int]] = []
    voids: list[np.ndarray | None] = []
    inside = rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True)
    try:
        with whole_file(target) as part, _silent_gdal(), inside:
            with rasterio.open(part, "w", **profile) as dataset:
                if palette:
                    dataset.write_colormap(1, {c.id: (*c.color, 255) for c in palette})
                row = 0
                for block, void in chain([first], blocks):
                    window = Window(0, row, width, block.shape[1])
                    dataset.write(block, window=window)
                    # a checksum, since the blocks together may not fit into memory
                    checks.append((window, zlib.crc32(np.ascontiguousarray(block).data)))
                    voids.append(None if void is None else np.packbits(void, axis=1))
                    row += block.shape[1]
                if any(void is not None for void in voids):
                    _write_mask(dataset, checks, voids)
            if not _reads_back(part, checks):
                raise _write_error(target, "what was written does not read back")
    except (*GDAL_ERRORS, OSError) as error:
        if isinstance(error, GDAL_ERRORS) or error.errno in FULL_DISK:
            raise _write_error(target, one_line(error)) from error
        raise


def _write_mask(
    dataset: Any, blocks: list[tuple[Window, int]], voids: list[np.ndarray | None]
) -> None:
    """Write where pixels are void, packed bits per block of rows."""
    for (window, _), void in zip(blocks, voids, strict=True):
        valid = np.full((window.height, window.width), 255, np.uint8)
        if void is not None:
            valid[np.unpackbits(void, axis=1, count=window.width) == 1] = 0
        dataset.write_mask(valid, window=window)


def _reads_back(path: Path, checks: list[tuple[Window, int]]) -> bool:
    """Tell whether the file holds the blocks: one cut short by a full disk may open as well."""
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            for window, check in checks:
                if zlib.crc32(dataset.read(window=window)) != check:
                    return False
                dataset.read_masks(1, window=window)
    except GDAL_ERRORS:
        return False
    return True


class DiskFullError(UserError):
    """The store cannot grow any more: going on with other rasters makes no sense."""


def _write_error(target: Path, reason: str) -> DiskFullError:
    why = f"{reason}; {shutil.disk_usage(target.parent).free / 1e6:.0f} MB free"
    remedy = "make room, or lift the limit on file sizes, and run the same command again"
    return DiskFullError(f"{target} could not be written whole ({why}): {remedy} to resume it.")


@contextmanager
def _silent_gdal() -> Iterator[None]:
    """Silence GDAL's log and the warning about missing coordinates; failures still raise."""
    logger = logging.getLogger("rasterio")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            yield
    finally:
        logger.setLevel(level)
