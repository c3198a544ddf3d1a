"""What the writers of generated datasets share: checks, progress, rasters."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST = 32  # pixels; less ground than this holds nothing to tell apart
MAX_LISTED_NAMES = 40


def check_names(what: str, names: Iterable[str], valid: Collection[str]) -> None:
    """Raise ValueError for the first of `names` that is not valid.

    Example:
        >>> check_names("tile", ["2_10", "9_9"], ["2_10", "2_11"])
        Traceback (most recent call last):
        ValueError: unknown tile '9_9'; valid: 2_10, 2_11
    """
    for name in names:
        if name not in valid:
            listed = ", ".join(list(valid)[:MAX_LISTED_NAMES])
            more = f" and {len(valid) - MAX_LISTED_NAMES} more"
            end = more if len(valid) > MAX_LISTED_NAMES else ""
            raise ValueError(f"unknown {what} {name!r}; valid: {listed}{end}")


def check_size(size: int) -> None:
    """Raise ValueError for scenes of fewer than 32 pixels a side."""
    if size < SMALLEST:
        raise ValueError(f"size {size} is too small: a scene needs at least {SMALLEST} pixels")


def track_scenes(scenes: Sequence[str], progress: bool) -> Iterable[str]:
    """Return the scenes, with a progress bar if asked for."""
    if not progress:
        return scenes
    from rich.progress import track

    return track(scenes, description="miniature")


def write_raster(
    path: Path, bands: NDArray[np.generic], driver: str = "GTiff", **profile: Any
) -> None:
    """Write `(C, H, W)` bands; `profile` is what else rasterio takes (crs, compress, ...)."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    count, height, width = bands.shape
    profile |= {"count": count, "height": height, "width": width, "dtype": bands.dtype}
    path.parent.mkdir(parents=True, exist_ok=True)
    # some layouts leave the georeference out on purpose; GDAL tags the fourth band of an 8-bit
    # image as alpha, which stays: it is one of the states a reader must bear
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        rasterio.open(path, "w", driver=driver, **profile) as file,
    ):
        file.write(bands)
