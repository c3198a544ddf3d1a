"""The layout of DFC2023 track 2 around painted scenes: names, folders, places, outlines, habits.

Source of every name and rule: dataset dossier, sections 5 and 11. Tiles of one block are windows of
one town, placed as the coordinates in their names say, so that neighbours share ground as the real
ones do.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
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

# habits and defects of users' copies, written on demand
DFC2023_QUIRKS = (
    "height_folder", "ndsm_folder", "annotations_folder", "test_folder", "short_names",
    "bare_folders", "tiff_extension", "stray_file", "merged", "track_1", "plain_codes", "shuffled",
    "odd_radar",
)  # fmt: skip
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
    quirks: Collection[str] = (), progress: bool = False,
) -> None:  # fmt: skip
    """Write painted scenes under `root` as an unpacked copy of the contest's track 2.

    `size` is the side of a tile in pixels of 1 m, from 400 on of 0.5 m; the distances between tiles
    shrink with it. A tile depends on (seed, stem, size) alone. `stems` are names of training tiles
    such as "SV_Berlin_52.4902_13.5090", by default those of the tests; `quirks` are names of
    `DFC2023_QUIRKS`. ValueError for an unknown stem or quirk, or a size below 32.
    """
    wanted = SIZES["test"]["stems"] if stems is None else stems
    table = read_split_table("dfc2023")
    scenes = checked_scenes(sorted(wanted), table, size, quirks, DFC2023_QUIRKS, progress)
    layout = _Layout(Path(root), frozenset(quirks))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    # in the order of the names: record ids count through all tiles
    for number, stem in enumerate(scenes):
        tile = dfc2023_tile(size, seed, stem)
        image_id = 5000 - 2 * number if "shuffled" in quirks else tile.number
        images.append(_image_entry(stem, size, image_id))
        _write_tile(layout, tile, odd_radar=number == 0 and "odd_radar" in quirks)
        rng = tile.town.generator_for(9, size, tile.number)
        for record in mask_records(tile.truth, rng, packed="plain_codes" not in quirks):
            annotations.append({**record, "image_id": image_id, "id": len(annotations)})
    if "shuffled" in quirks:
        images.reverse()
        annotations = annotations[::-3] + annotations[-2::-3] + annotations[-3::-3]
    _write_outlines(layout.outlines_path(), "building", images, annotations)
    _write_bystanders(layout, size, wanted[0])


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


@dataclass(frozen=True)
class _Layout:
    """Where the files of a copy go."""

    root: Path
    quirks: frozenset[str]

    def _above(self, folder: str) -> Path:
        return self.root if "bare_folders" in self.quirks else self.root / folder

    def raster_path(self, folder: str, stem: str) -> Path:
        """Return the path of a training raster; `folder` is rgb, sar or dsm."""
        renamed = {"height_folder": "height", "ndsm_folder": "ndsm"}
        for quirk, name in renamed.items():
            if folder == "dsm" and quirk in self.quirks:
                folder = name
        suffix = ".TIFF" if "tiff_extension" in self.quirks else ".tif"
        return self._above("track2/train") / folder / (stem + suffix)

    def outlines_path(self) -> Path:
        """Return the path of the JSON."""
        between = "annotations" if "annotations_folder" in self.quirks else ""
        return self._above("track2") / between / "buildings_only_train.json"

    def evaluation_path(self, part: str, folder: str, number: int) -> Path:
        """Return the path of an input without reference; `part` is val or test."""
        above = {"val": "track2/val", "test": "track2_test_data"}
        if "test_folder" in self.quirks:
            above["test"] = "track2/test"
        mark = "" if "short_names" in self.quirks else "_"
        return self.root / above[part] / folder / f"P{mark}{number:04}.tif"


def _image_entry(stem: str, size: int, image_id: int) -> dict[str, Any]:
    return {"file_name": f"{stem}.tif", "height": size, "width": size, "id": image_id}


def _write_outlines(path: Path, category: str, images: list[Any], annotations: list[Any]) -> None:
    """Write a COCO file."""
    categories = [{"supercategory": category, "id": 1, "name": category}]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content), encoding="utf-8")


def _write_tile(layout: _Layout, tile: _Tile, odd_radar: bool) -> None:
    from rasterio import Affine

    west, north = tile.corner
    transform = Affine(tile.gsd, 0, west, 0, -tile.gsd, north)
    place = {"crs": f"EPSG:{tile.row['epsg']}", "transform": transform}
    sar = tile.sar.copy()
    if odd_radar:
        sar[0, :3, :5], sar[0, -2:, :7] = np.nan, -0.5
    for folder, bands in (("rgb", tile.rgb), ("dsm", tile.dsm), ("sar", sar)):
        write_raster(layout.raster_path(folder, tile.stem), bands, **place)
    if "merged" in layout.quirks:
        above = layout.raster_path("dsm", tile.stem).parents[1]
        merged = np.concatenate([tile.rgb.astype(np.float32), sar])
        write_raster(above / "merge" / f"{tile.stem}.tif", merged, **place)
        (above / "dsmnpy").mkdir(exist_ok=True)
        np.save(above / "dsmnpy" / f"{tile.stem}.npy", tile.dsm)


def _write_bystanders(layout: _Layout, size: int, stem: str) -> None:
    """Write what lies beside the training tiles: unlabelled inputs, and what users keep there."""
    rng = np.random.default_rng(2023)

    def write_noise(path: Path, folder: str) -> None:
        if folder == "rgb":
            noise = rng.integers(1, 255, (3, size, size), dtype=np.uint8)
        else:
            noise = rng.gamma(4, 0.04, (1, size, size)).astype(np.float32)
        write_raster(path, noise)

    if "bare_folders" not in layout.quirks:
        for part, number in (("val", 0), ("val", 934), ("test", 420), ("test", 1166)):
            for folder in ("rgb", "sar"):
                write_noise(layout.evaluation_path(part, folder, number), folder)
    if "stray_file" in layout.quirks:
        write_noise(layout.raster_path("rgb", "SV_Berlin_52.0000_13.0000"), "rgb")
    if "track_1" in layout.quirks:
        other = layout.root / "track1"
        for name in (stem, "P_0000"):
            for folder in ("rgb", "sar"):
                write_noise(other / "train" / folder / f"{name}.tif", folder)
        for name in ("roof_fine_train.json", "buildings_only_train.json"):
            _write_outlines(other / name, "flat_roof", [_image_entry(stem, size, 0)], [])
