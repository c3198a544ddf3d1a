"""The EarthMiss layout around painted scenes (dossier of open datasets, sections 3.2 to 3.5)."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial.canvas import BUILDING, IMPERVIOUS, LOW_VEGETATION, TREE
from datamodules.miniature.aerial.survey import Survey, take_survey
from datamodules.miniature.raster_io import checked_scenes, write_raster

GSD = 0.6  # metres
# half as many to validate on
CITIES = {"America-Eugene": 2, "Nanjing": 2, "America-Pake": 1, "Japan-Hakodate": 2}
SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 64, "tiles": 1},
    "demonstration": {"size": 256, "tiles": 5},
    "real": {"size": 1024, "tiles": 1},
}
# raw values of the release, 1 (background) for all else
BY_CLASS = {IMPERVIOUS: 3, BUILDING: 2, LOW_VEGETATION: 7, TREE: 6}
BY_MATERIAL = {"water": 4, "pool": 4, "soil": 5, "turf": 8}
BACKGROUND, NO_DATA = 1, 0
NO_DATA_SIDE = 8  # px of a corner that nobody has labelled


def earthmiss_ids(size: int = 64, tiles: int = 1) -> list[str]:
    """List the tiles that `write_earthmiss` writes with these arguments.

    Example:
        >>> earthmiss_ids(tiles=1)[-2:]
        ['Japan-Hakodate/Japan-Hakodate_clip_0_0', 'Japan-Hakodate/Japan-Hakodate_clip_0_1']
    """
    ids = []
    for city, share in CITIES.items():
        ids += [f"{city}/{city}_clip_{i // 4}_{i % 4}" for i in range(share * tiles)]
    return ids


def write_earthmiss(
    root: Path, *, size: int = 64, seed: int = 0, tiles: int = 1, progress: bool = False
) -> None:
    """Write painted scenes under `root` as an unpacked copy of EarthMiss.

    A city has `tiles` or twice as many (side `size` in pixels of 0.6 m), which depend on (seed, id,
    size) alone. ValueError for a size below 32.
    """
    ids = earthmiss_ids(size, tiles)
    for tile in checked_scenes(ids, ids, size, progress):
        city, name = tile.split("/")
        survey = take_survey(size, GSD, [seed, zlib.crc32(tile.encode())])
        pictures: dict[str, NDArray[Any]] = {
            "images/RGB": survey.rgbn[:3].astype(np.float32),
            "images/SAR": radar_counts(survey.radar),
            "masks": raw_label(survey),
        }
        for folder, bands in pictures.items():
            path = Path(root) / city / folder / f"{name}.tif"
            write_raster(path, bands, compress="lzw")


def radar_counts(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return backscatter as the release has it: decibels spread over about 0 to 255, -1 below."""
    decibels = 10 * np.log10(linear + np.float32(1e-4))
    return np.clip(255 * (decibels + 25) / 35, -1, 255).astype(np.float32)


def raw_label(survey: Survey) -> NDArray[np.uint8]:
    """Return raw values of the mask, `(1, H, W)`."""
    raw = survey.relabel(BY_CLASS, BY_MATERIAL)
    raw[raw == NO_DATA] = BACKGROUND
    raw[:, :NO_DATA_SIDE, :NO_DATA_SIDE] = NO_DATA
    return raw
