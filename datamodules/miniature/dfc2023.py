"""The layout of DFC2023 track 2 around painted scenes: names, folders, places, outlines.

Source of every name and rule: dataset dossier, sections 5 and 11. Tiles of one block are windows of
one town, placed as the coordinates in their names say, so that neighbours share ground as the real
ones do.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial.canvas import BUILDING
from datamodules.miniature.aerial.city import Town, Window, height_model, photograph_window
from datamodules.miniature.aerial.sar import LOOKS, radar_backscatter
from datamodules.miniature.coco_export import mask_records
from datamodules.miniature.raster_io import checked_scenes, write_raster
from datamodules.splits.tables import read_split_table

SIZE_M = 256.0  # side of a real tile
GREEN_BLOCK = "9"  # its tiles have no building: images without records
BLACK_CORNER = "SV_Berlin_52.4902_13.5090"  # of dossier 5.5
MARGIN_M = 40.0  # shadows and walls laid over reach so far


def _first_tiles(blocks: Mapping[int, int]) -> tuple[str, ...]:
    """Return the first so many tiles of each block."""
    left, chosen = dict(blocks), []
    for stem, row in read_split_table("dfc2023").items():
        block = int(row["block"])
        if left.get(block, 0):
            left[block] -= 1
            chosen.append(stem)
    return tuple(sorted(chosen))


SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 64, "stems": _first_tiles({4: 3, 9: 1, 26: 2, 12: 2})},
    "demonstration": {
        "size": 128,
        "stems": _first_tiles(
            dict.fromkeys((0, 2, 4, 5, 10, 13, 14, 16, 17, 19, 22, 25, 3), 6)
            | dict.fromkeys((27, 1, 7, 20, 23, 24), 4)
            | {6: 5, 9: 2, 12: 5, 15: 3, 26: 3}
        ),
    },
    "real": {"size": 512, "stems": _first_tiles({4: 1, 12: 1})},
}


def write_dfc2023(
    root: Path, *, size: int = 64, seed: int = 0, stems: Sequence[str] | None = None,
    progress: bool = False,
) -> None:  # fmt: skip
    """Write painted scenes under `root` as an unpacked copy of the contest's track 2.

    `size` is the side of a tile in pixels of 1 m, from 400 on of 0.5 m; the distances between tiles
    shrink with it. A tile depends on (seed, stem, size) alone. `stems` are names of training tiles
    such as "SV_Berlin_52.4902_13.5090", by default those of the tests. ValueError for an unknown
    stem, or a size below 32.
    """
    from rasterio import Affine

    wanted = SIZES["test"]["stems"] if stems is None else stems
    track = Path(root) / "track2"
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    # in the order of the names: record ids count through all tiles
    for stem in checked_scenes(sorted(wanted), read_split_table("dfc2023"), size, progress):
        tile = dfc2023_tile(size, seed, stem)
        file = f"{stem}.tif"
        images.append({"file_name": file, "height": size, "width": size, "id": tile.number})
        west, north = tile.corner
        transform = Affine(tile.gsd, 0, west, 0, -tile.gsd, north)
        place = {"crs": f"EPSG:{tile.row['epsg']}", "transform": transform}
        for folder, bands in (("rgb", tile.rgb), ("dsm", tile.dsm), ("sar", tile.sar)):
            write_raster(track / "train" / folder / file, bands, **place)
        for record in mask_records(tile.truth, tile.town.generator_for(9, size, tile.number)):
            annotations.append({**record, "image_id": tile.number, "id": len(annotations)})
    categories = [{"supercategory": "building", "id": 1, "name": "building"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (track / "buildings_only_train.json").write_text(json.dumps(content), encoding="utf-8")
    _write_unlabelled(Path(root), size)


@cache
def _block_places(block: str) -> tuple[tuple[float, float], dict[str, tuple[float, float]]]:
    """Return easting and northing of a block's corner, and {stem: metres (east, south) of it}."""
    from rasterio.warp import transform

    table = read_split_table("dfc2023")
    stems = [stem for stem, row in table.items() if row["block"] == block]
    degrees = np.array([stem.split("_")[-2:] for stem in stems], float)
    crs = f"EPSG:{table[stems[0]]['epsg']}"
    x, y = transform("EPSG:4326", crs, degrees[:, 1].tolist(), degrees[:, 0].tolist())
    east, north = np.round(x), np.round(y)
    corner = float(east.min()), float(north.max())
    metres = zip((east - corner[0]).tolist(), (corner[1] - north).tolist(), strict=True)
    return corner, dict(zip(stems, metres, strict=True))


class _Tile:
    """One tile: the window of its block's town that it shows, and what is there."""

    def __init__(self, stem: str, size: int, seed: int) -> None:
        table = read_split_table("dfc2023")
        self.stem, self.row, self.number = stem, table[stem], list(table).index(stem)
        self.gsd = 0.5 if size >= 400 else 1.0
        block = self.row["block"]
        corner, places = _block_places(block)
        shrink = size / SIZE_M  # in pixels per real metre
        column, row = (round(metres * shrink) for metres in places[stem])
        self.window = Window(row, column, size, self.gsd)
        self.corner = corner[0] + column * self.gsd, corner[1] - row * self.gsd
        self.town = Town((seed, int(block), 2023), green=block == GREEN_BLOCK)
        # painted with a margin, so that what stands beyond the edge still casts its shadow
        self.margin = int(np.ceil(MARGIN_M / self.gsd))
        self.wide = self.window.grow_by(self.margin)
        self.scene, self.unknown = self.town.paint_window(self.wide)

    def cut_margin(self, values: NDArray[Any]) -> NDArray[Any]:
        """Take the margin off `(..., H, W)` values."""
        inside = slice(self.margin, self.margin + self.window.size)
        return values[..., inside, inside]

    @cached_property
    def truth(self) -> NDArray[np.bool_]:
        """Where buildings are, `(H, W)`."""
        return self.cut_margin(self.scene.label) == BUILDING

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """The optical picture, `(3, H, W)`."""
        counts = self.cut_margin(photograph_window(self.scene, self.town, self.wide))
        # 0 is left to the black corner that one real tile has
        rgb = np.clip(np.rint(counts), 1, 255).astype(np.uint8)
        if self.stem == BLACK_CORNER:
            half = self.window.size // 2
            rgb[:, :half, :half] = 0
        return rgb

    @cached_property
    def dsm(self) -> NDArray[np.float32]:
        """Heights above ground in m, `(1, H, W)`."""
        return self.cut_margin(height_model(self.scene, self.unknown, self.town, self.wide))[None]

    @cached_property
    def sar(self) -> NDArray[np.float32]:
        """The radar picture, linear, `(1, H, W)`."""
        # one look direction per town, as of one pass of the satellite
        rng = self.town.generator_for(8)
        azimuth = float(np.radians(rng.choice([80.0, 280.0])))
        incidence = float(np.radians(rng.uniform(35, 45)))
        speckle = [self.town.noise_on(self.wide, 10 + k) for k in range(2 * LOOKS)]
        image = radar_backscatter(self.scene, azimuth, incidence, np.stack(speckle))
        return self.cut_margin(image)[None]


@lru_cache(maxsize=12)
def dfc2023_tile(size: int, seed: int, stem: str) -> _Tile:
    """Paint one tile: what is really there, and what three sensors make of it."""
    return _Tile(stem, size, seed)


def _write_unlabelled(root: Path, size: int) -> None:
    """Write inputs without reference beside the training tiles."""
    rng = np.random.default_rng(2023)
    val, test = root / "track2/val", root / "track2_test_data"
    for above, number in ((val, 0), (val, 934), (test, 420), (test, 1166)):
        rgb = rng.integers(1, 255, (3, size, size), dtype=np.uint8)
        write_raster(above / "rgb" / f"P_{number:04}.tif", rgb)
        sar = rng.gamma(4, 0.04, (1, size, size)).astype(np.float32)
        write_raster(above / "sar" / f"P_{number:04}.tif", sar)
