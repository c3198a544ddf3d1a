"""The Hunan layout around painted country (dossier of open datasets, sections 5.2 to 5.5)."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.landscape.country import COVERS, GSD, Country, paint_country
from datamodules.miniature.landscape.satellites import (
    backscatter,
    multispectral,
    surface_heights,
)
from datamodules.miniature.raster_io import checked_scenes, write_raster
from datamodules.splits.tables import read_split_table

SHARES = {"train": 2, "val": 1, "test": 1}
SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 32, "tiles": 1},
    "demonstration": {"size": 192, "tiles": 10},
    "real": {"size": 256, "tiles": 1},
}
LOOKS = 12  # of a composite over a year
# raw values of the release; some stand for one class, so that its patches are parted among them
RAW = {
    "water": (6,), "wetland": (5,), "paddy": (1,), "crop": (1,), "stubble": (1,), "forest": (2, 4),
    "grass": (3,), "sand": (9,), "soil": (9,), "town": (7, 8, 10),
}  # fmt: skip
NO_DATA_SIDE = 6  # px of a corner that holds no class
PATCH = 0.02  # difference of shade between patches with another raw value


def hunan_ids(size: int = 64, tiles: int = 1) -> list[str]:
    """List the tiles that `write_hunan` writes with these arguments.

    Example:
        >>> hunan_ids()
        ['299', '31797', '298', '639']
    """
    table = read_split_table("hunan_split")
    ids = []
    for part, share in SHARES.items():
        known = [tile for tile, row in table.items() if row["split_standard"] == part]
        places = np.linspace(0, len(known) - 1, share * tiles).astype(int)
        ids += [known[place] for place in places]
    return ids


def write_hunan(
    root: Path, *, size: int = 64, seed: int = 0, tiles: int = 1, progress: bool = False
) -> None:
    """Write painted country under `root` as an unpacked copy of Hunan.

    The parts have 2, 1 and 1 times `tiles` tiles (side `size` in pixels of 10 m), which depend on
    (seed, id, size) alone. ValueError for a size below 32.
    """
    table, ids = read_split_table("hunan_split"), hunan_ids(size, tiles)
    for tile in checked_scenes(ids, ids, size, progress):
        rng = np.random.default_rng([seed, zlib.crc32(tile.encode()), size])
        country = paint_country((size, size), rng)
        elevation = surface_heights(country, rng)
        slope = np.degrees(np.arctan(np.hypot(*np.gradient(elevation[0], GSD))))[None]
        pictures: dict[str, NDArray[Any]] = {
            "s2": multispectral(country, rng),
            "s1": 10 * np.log10(backscatter(country, rng, LOOKS)),
            "topo": np.concatenate([elevation, slope]),
            "lc": raw_label(country),
        }
        part = table[tile]["split_standard"]
        if part == "train":
            pictures["tri"] = slope
        for folder, bands in pictures.items():
            path = Path(root) / "Hunan_Dataset" / part / folder / f"{folder}_{tile}.tif"
            write_raster(path, bands, compress="deflate")


def raw_label(country: Country) -> NDArray[np.float32]:
    """Return raw values of the land cover, `(1, H, W)`, as floats that hold whole numbers."""
    raw = np.zeros(country.cover.shape, np.float32)
    for number, cover in enumerate(COVERS):
        here, values = country.cover == number, np.array(RAW[cover.name])
        raw[here] = values[(country.shade[here] // PATCH).astype(int) % len(values)]
    raw[:NO_DATA_SIDE, :NO_DATA_SIDE] = 0
    return raw[None]
