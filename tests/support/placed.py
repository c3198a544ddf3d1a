"""Rasters with a place on the ground, for tests of what users hand in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

PLACE = from_origin(770550, 6277600, 0.2, 0.2)


def write(path: Path, pixels: np.ndarray, **profile: Any) -> Path:
    """Write bands x H x W as a GeoTIFF at `PLACE`; `profile` wins."""
    fields = {"crs": "EPSG:2154", "transform": PLACE, "driver": "GTiff"} | profile
    size = {"count": len(pixels), "height": pixels.shape[1], "width": pixels.shape[2]}
    with rasterio.open(path, "w", dtype=pixels.dtype, **size, **fields) as file:
        file.write(pixels)
    return path
