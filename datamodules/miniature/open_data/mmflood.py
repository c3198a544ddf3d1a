"""The MMFlood layout around painted country (dossier of open datasets, sections 6.2 to 6.5)."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from scipy import ndimage

from datamodules.miniature.landscape.country import Country, paint_country
from datamodules.miniature.landscape.satellites import backscatter, rise, surface_heights
from datamodules.miniature.raster_io import checked_scenes, write_raster
from datamodules.splits.tables import read_split_table

EVENTS = ("EMSR107", "EMSR192", "EMSR238", "EMSR141")  # two train, then val and test
# two folders an event; in one of them nobody has mapped rivers, for train and test events alike
WITHOUT_HYDRO = ("EMSR107-1", "EMSR141-1")
SHAPES = ((1.6, 1.2), (1.0, 1.3), (1.3, 2.0))  # rows and columns of tiles in turn, times `size`
SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 32, "tiles": 1},
    # a side below the window of 128 px
    "demonstration": {"size": 112, "tiles": 5},
    "real": {"size": 800, "tiles": 1},
}
LOOKS = 5
PIXEL = 9e-5  # degrees
UNSEEN = 0.3  # how far a swath's edge cuts into every third tile, as a share of its width
UNMAPPED = 0.25  # share of waters that OpenStreetMap lacks
STAGES = (1.2, 3.2)  # metres that rivers rise


def mmflood_ids(size: int = 64, tiles: int = 1) -> list[str]:
    """List the tiles that `write_mmflood` writes with these arguments.

    Example:
        >>> mmflood_ids()[:3]
        ['EMSR107/EMSR107-0-0', 'EMSR107/EMSR107-1-0', 'EMSR192/EMSR192-0-0']
    """
    ids = []
    for event in EVENTS:
        for folder in range(2):
            ids += [f"{event}/{event}-{folder}-{number}" for number in range(tiles)]
    return ids


def write_mmflood(
    root: Path, *, size: int = 64, seed: int = 0, tiles: int = 1, progress: bool = False
) -> None:
    """Write painted floods under `root` as an unpacked copy of MMFlood.

    An event has two folders with `tiles` tiles (sides about `size` to twice as long, in pixels of
    10 m), which depend on (seed, id, size) alone. ValueError for a size below 32.
    """
    root, ids = Path(root), mmflood_ids(size, tiles)
    for place, tile in enumerate(checked_scenes(ids, ids, size, progress)):
        name = tile.split("/")[1]
        folder = name.rpartition("-")[0]
        rows, columns = SHAPES[place % len(SHAPES)]
        shape = round(rows * size), round(columns * size)
        rng = np.random.default_rng([seed, zlib.crc32(tile.encode()), size])
        country = paint_country(shape, rng)
        flooded = rise(country, rng.uniform(*STAGES))
        sar = backscatter(country, rng, LOOKS, flooded)
        if place % 3 == 1:
            row, column = np.indices(shape)
            sar[:, column + 0.2 * row < UNSEEN * shape[1]] = np.nan
        seen = np.isfinite(sar[0])
        pictures: dict[str, NDArray[Any]] = {
            "s1_raw": sar,
            "DEM": surface_heights(country, rng),
            "mask": (flooded & seen).astype(np.uint8)[None],
        }
        if folder not in WITHOUT_HYDRO:
            pictures["hydro"] = mapped_water(country, rng)
        where = Affine(PIXEL, 0, 8 + 0.1 * place, 0, -PIXEL, 45)
        for kind, bands in pictures.items():
            path = root / "activations" / folder / kind / f"{name}.tif"
            write_raster(path, bands, compress="deflate", crs="EPSG:4326", transform=where)
    events = {}
    for event in EVENTS:
        known = read_split_table("mmflood_split")[event]
        told = {key: known[key] for key in ("country", "start")}
        events[event] = {**told, "subset": known["split_standard"]}
    (root / "activations.json").write_text(json.dumps(events, indent=1) + "\n", encoding="utf-8")


def mapped_water(country: Country, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return 1 where a map has water, `(1, H, W)`: the river, and most of the lakes."""
    pieces, number = ndimage.label(country.holds("water"))
    is_mapped = rng.random(number + 1) > UNMAPPED
    is_mapped[np.unique(pieces[country.above == 0])] = True
    is_mapped[0] = False
    return is_mapped[pieces].astype(np.uint8)[None]
