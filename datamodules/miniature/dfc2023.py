"""The layout of DFC2023 track 2 around painted scenes: names, folders, coordinates, outlines, users' habits.

Source of every name and rule: dataset dossier, sections 5 and 11. Tiles of one block are windows of one town, placed as
the coordinates in their names say, so that neighbours share ground as the real ones do.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Sequence
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
from datamodules.miniature.raster_io import write_raster

DFC2023_QUIRKS: dict[str, str] = {
    "height_folder": "train/height instead of train/dsm",
    "ndsm_folder": "train/ndsm instead of train/dsm",
    "annotations_folder": "the JSON in track2/annotations",
    "test_folder": "track2/test instead of track2_test_data",
    "short_names": "P0000 instead of P_0000",
    "bare_folders": "rgb, sar and dsm with the JSON beside them, nothing above",
    "tiff_extension": ".TIFF",
    "stray_file": "one picture too many in train/rgb",
    "merged": "derived folders train/merge (4 bands, same names) and train/dsmnpy",
    "track_1": "track 1 beside track 2: other pictures, names of track 2, outlines of its own",
    "plain_codes": "run-length codes as lists of numbers",
    "shuffled": "images and records in no order, image ids that are not the original ones",
    "odd_radar": "the first tile's radar picture has missing (NaN) and negative values",
}
SIZE_M = 256.0  # side of a real tile
GREEN_BLOCK = "9"  # its tiles have no building: images without records
BLACK_CORNER = "SV_Berlin_52.4902_13.5090"  # of dossier 5.5
MARGIN_M = 40.0  # shadows and walls laid over reach so far
SPLITS = Path(__file__).parents[1] / "splits" / "dfc2023.csv"


@cache
def _table() -> dict[str, dict[str, str]]:
    with SPLITS.open(encoding="utf-8", newline="") as stream:
        return {row["stem"]: row for row in csv.DictReader(stream)}


def _some(blocks: dict[int, int]) -> tuple[str, ...]:
    """Return the first so many tiles of each block."""
    by_block: dict[int, list[str]] = {}
    for stem, row in _table().items():
        by_block.setdefault(int(row["block"]), []).append(stem)
    return tuple(
        sorted(stem for block, number in blocks.items() for stem in by_block[block][:number])
    )


SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 64, "stems": _some({4: 3, 9: 1, 26: 2, 12: 2})},
    "demonstration": {
        "size": 128,
        "stems": _some(
            dict.fromkeys((0, 2, 4, 5, 10, 13, 14, 16, 17, 19, 22, 25), 6)
            | {9: 2, 27: 4, 3: 6, 15: 3, 26: 3}
            | {1: 4, 6: 5, 7: 4, 12: 5, 20: 4, 23: 4, 24: 4}
        ),
    },
    "real": {"size": 512, "stems": _some({4: 1, 12: 1})},
}


def dfc2023_ids(size: int = 64, stems: Sequence[str] | None = None) -> list[str]:
    """Return the tiles that `write_dfc2023` writes with these arguments."""
    return list(SIZES["test"]["stems"] if stems is None else stems)


def write_dfc2023(
    root: Path,
    *,
    size: int = 64,
    seed: int = 0,
    stems: Sequence[str] | None = None,
    quirks: Collection[str] = (),
    progress: bool = False,
) -> None:
    """Write painted scenes under `root` as an unpacked copy of the contest's track 2.

    Args:
        root: folder that receives `track2/` and `track2_test_data/`; created when absent.
        size: side of a tile in pixels of 1 m, from 400 pixels on of 0.5 m. The distances between tiles shrink with it.
        seed: another seed is other towns. A tile depends on (seed, stem, size) alone.
        stems: names of training tiles such as "SV_Berlin_52.4902_13.5090"; those of the tests' size when None.
        quirks: names from `DFC2023_QUIRKS`, each a habit or defect of users' copies.
        progress: show a progress bar.

    Raises:
        ValueError: for an unknown stem or quirk, or a size below 32.
    """
    if unknown := sorted(set(quirks) - DFC2023_QUIRKS.keys()):
        raise ValueError(f"unknown quirk {', '.join(unknown)}; valid: {', '.join(DFC2023_QUIRKS)}")
    wanted = dfc2023_ids(size, stems)
    for stem in wanted:
        _check(size, stem)
    if progress:
        from rich.progress import track

        steps: Iterable[str] = track(sorted(wanted), description="miniature")
    else:
        steps = sorted(wanted)
    layout = _Layout(Path(root), frozenset(quirks))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, stem in enumerate(steps):
        image = {
            "file_name": f"{stem}.tif",
            "height": size,
            "width": size,
            "id": list(_table()).index(stem),
        }
        if "shuffled" in quirks:
            image["id"] = 5000 - 2 * number
        images.append(image)
        tile = _tile(stem, size, seed)
        _write_tile(layout, tile, odd_radar=number == 0 and "odd_radar" in quirks)
        draw = tile.town.generator_for(9, size, tile.number)
        for record in mask_records(tile.truth, draw, packed="plain_codes" not in quirks):
            annotations.append({**record, "image_id": image["id"], "id": len(annotations)})
    if "shuffled" in quirks:
        images, annotations = (
            images[::-1],
            annotations[::-3] + annotations[-2::-3] + annotations[-3::-3],
        )
    layout.write_json(layout.outlines_path(), "building", images, annotations)
    _write_others(layout, size, wanted[0])


def dfc2023_truth(size: int, seed: int, stem: str) -> NDArray[np.uint8]:
    """Return the true label ids (H x W uint8, 1 = building) of one tile.

    Raises:
        ValueError: for an unknown stem or a size below 32.
    """
    _check(size, stem)
    return _tile(stem, size, seed).truth.astype(np.uint8)


def _check(size: int, stem: str) -> None:
    if stem not in _table():
        raise ValueError(
            f"unknown tile {stem!r} of DFC2023; valid are {len(_table())}, e.g. {next(iter(_table()))}"
        )
    if size < 32:
        raise ValueError(f"size {size} is too small: a tile needs at least 32 pixels")


@cache
def _places(block: str) -> dict[str, tuple[float, float]]:
    """Return {stem: (metres east, metres south)} within a block, and under "" easting and northing of its corner."""
    from rasterio.warp import transform

    rows = [row for row in _table().values() if row["block"] == block]
    south, east = zip(*(map(float, row["stem"].split("_")[-2:]) for row in rows), strict=True)
    x, y = (
        np.round(values)
        for values in transform("EPSG:4326", f"EPSG:{rows[0]['epsg']}", east, south)
    )
    places = {
        row["stem"]: (float(a - x.min()), float(y.max() - b))
        for row, a, b in zip(rows, x, y, strict=True)
    }
    return {**places, "": (float(x.min()), float(y.max()))}


class _Tile:
    """One tile: the window of its block's town that it shows, and what is there."""

    def __init__(self, stem: str, size: int, seed: int) -> None:
        self.stem, self.row, self.number = stem, _table()[stem], list(_table()).index(stem)
        self.gsd = 0.5 if size >= 400 else 1.0
        places = _places(self.row["block"])
        shrink = size / SIZE_M  # in pixels per real metre
        column, row = (round(value * shrink) for value in places[stem])
        self.window = Window(row, column, size, self.gsd)
        self.corner = places[""][0] + column * self.gsd, places[""][1] - row * self.gsd
        self.town = Town(
            (seed, int(self.row["block"]), 2023), green=self.row["block"] == GREEN_BLOCK
        )
        self.margin = int(np.ceil(MARGIN_M / self.gsd))
        self.wide = self.window.grow_by(self.margin)
        self.scene, self.unknown = self.town.paint_window(self.wide)

    def cut_margin(self, values: NDArray[Any]) -> NDArray[Any]:
        """Take the margin off ... x H x W values."""
        inside = slice(self.margin, self.margin + self.window.size)
        return values[..., inside, inside]

    @cached_property
    def truth(self) -> NDArray[np.bool_]:
        """Return where buildings are (H x W)."""
        return self.cut_margin(self.scene.label) == BUILDING

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """Return the optical picture (3 x H x W)."""
        counts = self.cut_margin(photograph_window(self.scene, self.town, self.wide))
        rgb = np.clip(np.rint(counts), 1, 255).astype(np.uint8)
        if self.stem == BLACK_CORNER:
            half = self.window.size // 2
            rgb[:, :half, :half] = 0
        return rgb

    @cached_property
    def dsm(self) -> NDArray[np.float32]:
        """Return heights above ground (1 x H x W, m)."""
        return self.cut_margin(height_model(self.scene, self.unknown, self.town, self.wide))[None]

    @cached_property
    def sar(self) -> NDArray[np.float32]:
        """Return the radar picture (1 x H x W, linear)."""
        look = self.town.generator_for(8)
        azimuth, incidence = (
            np.radians(look.choice([80.0, 280.0])),
            np.radians(look.uniform(35, 45)),
        )
        speckle = np.stack([self.town.noise_on(self.wide, 10 + k) for k in range(2 * LOOKS)])
        return self.cut_margin(
            radar_backscatter(self.scene, float(azimuth), float(incidence), speckle)
        )[None]


@lru_cache(maxsize=12)
def _tile(stem: str, size: int, seed: int) -> _Tile:
    return _Tile(stem, size, seed)


@dataclass(frozen=True)
class _Layout:
    """Where the files of a copy go."""

    root: Path
    quirks: frozenset[str]

    def raster_path(self, folder: str, stem: str) -> Path:
        """Return the path of a training raster; `folder` is rgb, sar or dsm."""
        if folder == "dsm":
            folder = (
                "height"
                if "height_folder" in self.quirks
                else "ndsm"
                if "ndsm_folder" in self.quirks
                else "dsm"
            )
        above = self.root if "bare_folders" in self.quirks else self.root / "track2" / "train"
        return above / folder / (stem + (".TIFF" if "tiff_extension" in self.quirks else ".tif"))

    def outlines_path(self) -> Path:
        """Return the path of the JSON."""
        above = self.root if "bare_folders" in self.quirks else self.root / "track2"
        return (
            above
            / ("annotations" if "annotations_folder" in self.quirks else "")
            / "buildings_only_train.json"
        )

    def evaluation_path(self, part: str, folder: str, number: int) -> Path:
        """Return the path of an input without reference; `part` is val or test."""
        name = f"P{'' if 'short_names' in self.quirks else '_'}{number:04}.tif"
        if part == "val":
            return self.root / "track2" / "val" / folder / name
        test = "track2/test" if "test_folder" in self.quirks else "track2_test_data"
        return self.root / test / folder / name

    @staticmethod
    def write_json(path: Path, category: str, images: list[Any], annotations: list[Any]) -> None:
        """Write a COCO file."""
        categories = [{"supercategory": category, "id": 1, "name": category}]
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"images": images, "annotations": annotations, "categories": categories}
        path.write_text(json.dumps(content), encoding="utf-8")


def _write_tile(layout: _Layout, tile: _Tile, odd_radar: bool) -> None:
    from rasterio import Affine

    place = {
        "crs": f"EPSG:{tile.row['epsg']}",
        "transform": Affine(tile.gsd, 0, tile.corner[0], 0, -tile.gsd, tile.corner[1]),
    }
    rgb, dsm, sar = tile.rgb, tile.dsm, tile.sar.copy()
    if odd_radar:
        sar[0, :3, :5], sar[0, -2:, :7] = np.nan, -0.5
    write_raster(layout.raster_path("rgb", tile.stem), rgb, **place)
    write_raster(layout.raster_path("dsm", tile.stem), dsm, **place)
    write_raster(layout.raster_path("sar", tile.stem), sar, **place)
    if "merged" in layout.quirks:
        merged = layout.raster_path("dsm", tile.stem).parents[1] / "merge" / f"{tile.stem}.tif"
        write_raster(merged, np.concatenate([rgb.astype(np.float32), sar]), **place)
        (merged.parents[1] / "dsmnpy").mkdir(exist_ok=True)
        np.save(merged.parents[1] / "dsmnpy" / f"{tile.stem}.npy", dsm)


def _write_others(layout: _Layout, size: int, stem: str) -> None:
    """Write what lies beside the training tiles: inputs without reference, and what users keep there."""
    rng = np.random.default_rng(2023)

    def noise(folder: str) -> NDArray[np.generic]:
        if folder == "rgb":
            return rng.integers(1, 255, (3, size, size), dtype=np.uint8)
        return rng.gamma(4, 0.04, (1, size, size)).astype(np.float32)

    if "bare_folders" not in layout.quirks:
        for part, numbers in (("val", (0, 934)), ("test", (420, 1166))):
            for number in numbers:
                for folder in ("rgb", "sar"):
                    write_raster(layout.evaluation_path(part, folder, number), noise(folder))
    if "stray_file" in layout.quirks:
        write_raster(layout.raster_path("rgb", "SV_Berlin_52.0000_13.0000"), noise("rgb"))
    if "track_1" in layout.quirks:
        for name in (stem, "P_0000"):
            for folder in ("rgb", "sar"):
                write_raster(
                    layout.root / "track1" / "train" / folder / f"{name}.tif", noise(folder)
                )
        image = {"file_name": f"{stem}.tif", "height": size, "width": size, "id": 0}
        for name in ("roof_fine_train.json", "buildings_only_train.json"):
            layout.write_json(layout.root / "track1" / name, "flat_roof", [image], [])
