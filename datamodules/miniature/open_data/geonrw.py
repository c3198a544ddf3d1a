"""The GeoNRW layout around painted scenes (dossier of open datasets, sections 7.2 to 7.4)."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial.canvas import (
    BUILDING,
    CAR,
    CLUTTER,
    IMPERVIOUS,
    LOW_VEGETATION,
    TREE,
)
from datamodules.miniature.aerial.survey import Survey, take_survey
from datamodules.miniature.raster_io import checked_scenes, write_raster

GSD = 1.0  # metres
# kilometres east and north of the first tile, share of the tiles
CITIES = {
    "aachen": (294, 5628, 2),
    "bonn": (365, 5620, 1),
    "essen": (361, 5702, 1),
    "koeln": (355, 5645, 1),
    "herne": (373, 5710, 2),
}
SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 48, "tiles": 1},
    "demonstration": {"size": 256, "tiles": 5},
    "real": {"size": 1000, "tiles": 1},
}
# raw values of the release
BY_CLASS = {IMPERVIOUS: 9, CAR: 9, LOW_VEGETATION: 5, TREE: 1, BUILDING: 10, CLUTTER: 4}
BY_MATERIAL = {"meadow": 3, "soil": 3, "water": 2, "pool": 2, "mossy": 4, "brick": 7}
NOT_COVERED = 0
NOT_COVERED_SIDE = 8  # px of a corner that no polygon covers
LOSSLESS: dict[str, Any] = {"QUALITY": 100, "REVERSIBLE": "YES"}


def geonrw_ids(size: int = 48, tiles: int = 1) -> list[str]:
    """List the tiles that `write_geonrw` writes with these arguments.

    Example:
        >>> geonrw_ids(tiles=1)[-2:]
        ['herne/373_5710', 'herne/374_5710']
    """
    ids = []
    for city, (east, north, share) in CITIES.items():
        ids += [f"{city}/{east + i % 4}_{north + i // 4}" for i in range(share * tiles)]
    return ids


def write_geonrw(
    root: Path, *, size: int = 48, seed: int = 0, tiles: int = 1, progress: bool = False
) -> None:
    """Write painted scenes under `root` as an unpacked copy of GeoNRW, without radar.

    A city has `tiles` or twice as many (side `size` in pixels of 1 m), which depend on (seed, id,
    size) alone. ValueError for a size below 32.
    """
    ids = geonrw_ids(size, tiles)
    for tile in checked_scenes(ids, ids, size, progress):
        survey = take_survey(size, GSD, [seed, zlib.crc32(tile.encode())])
        at = {"transform": _place(tile)}
        stem = str(Path(root) / tile)
        picture = Path(f"{stem}_rgb.jp2")
        write_raster(picture, survey.rgbn, "JP2OpenJPEG", **LOSSLESS, crs="EPSG:25832", **at)
        heights = surface(survey, size, zlib.crc32(tile.encode()))
        # heights come with those of the sea in their coordinate system
        write_raster(Path(f"{stem}_dem.tif"), heights, crs="EPSG:5555", compress="lzw", **at)
        label = raw_label(survey)
        write_raster(Path(f"{stem}_seg.tif"), label, crs="EPSG:25832", compress="lzw", **at)


def surface(survey: Survey, size: int, number: int) -> NDArray[np.float32]:
    """Return heights above the sea `(1, H, W)`: on sloping ground, with one cell left at 0."""
    draw = np.random.default_rng(number)
    slope = draw.normal(0, 0.03, 2)
    row, column = np.mgrid[:size, :size] * GSD
    ground = draw.uniform(30, 300) + slope[0] * row + slope[1] * column
    heights = (survey.heights + ground).astype(np.float32)
    heights[0, 0, 0] = 0
    return heights


def raw_label(survey: Survey) -> NDArray[np.uint8]:
    """Return raw values of the land cover, `(1, H, W)`."""
    raw = survey.relabel(BY_CLASS, BY_MATERIAL)
    raw[:, :NOT_COVERED_SIDE, :NOT_COVERED_SIDE] = NOT_COVERED
    return raw


def _place(tile: str) -> Any:
    """Return the transform of a tile: its name is that of its south-west corner."""
    from affine import Affine

    east, north = map(int, tile.split("/")[1].split("_"))
    return Affine(GSD, 0, 1000 * east, 0, -GSD, 1000 * (north + 1))
