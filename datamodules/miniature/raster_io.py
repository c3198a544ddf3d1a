"""Writes the rasters of generated datasets."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_raster(
    path: Path, bands: NDArray[np.generic], driver: str = "GTiff", **profile: object
) -> None:
    """Write C x H x W `bands`; `profile` holds what else rasterio is to know (crs, transform, compress, quality, ...).

    GDAL tags the fourth band of an 8-bit image as alpha. That stays: it is one of the states a reader must bear.
    """
    import rasterio

    count, height, width = bands.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        quiet(),
        rasterio.open(
            path,
            "w",
            driver=driver,
            count=count,
            height=height,
            width=width,
            dtype=bands.dtype,
            **profile,
        ) as file,
    ):
        file.write(bands)


def quiet() -> warnings.catch_warnings[None]:
    """Return a context in which rasterio does not warn of the georeference that a layout leaves out on purpose."""
    from rasterio.errors import NotGeoreferencedWarning

    return warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)
