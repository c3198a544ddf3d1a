"""What the writers of generated datasets share: checks, progress, rasters."""

import warnings
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST = 32  # pixels; less ground than this holds nothing to tell apart


def check_names(what: str, names: Iterable[str], valid: Collection[str]) -> None:
    """Raise ValueError for the first of `names` that is not valid.

    Example:
        >>> check_names("tile", ["2_10", "9_9"], ["2_10", "2_11"])
        Traceback (most recent call last):
        ValueError: unknown tile '9_9'; valid: 2_10, 2_11
    """
    for name in names:
        if name not in valid:
            raise ValueError(f"unknown {what} {name!r}; valid: {', '.join(list(valid)[:40])}")


def checked_scenes(
    scenes: Sequence[str], valid: Collection[str], size: int, progress: bool
) -> Iterable[str]:
    """Check what a writer was asked for, then return the scenes, perhaps with a progress bar."""
    check_names("scene", scenes, valid)
    if size < SMALLEST:
        raise ValueError(f"size {size} is too small: a scene needs at least {SMALLEST} pixels")
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
