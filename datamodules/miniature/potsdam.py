"""The ISPRS Potsdam layout around painted scenes: names, folders, bands, places and defects.

Source of every name and rule: dataset dossier, sections 2, 3.1-3.5 and 11.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial.canvas import CAR
from datamodules.miniature.aerial.scene import Scene, paint_scene
from datamodules.miniature.aerial.sensors import surface_model, take_orthophoto
from datamodules.miniature.isprs_labels import erode_label, paint_label, write_world_file
from datamodules.miniature.raster_io import checked_scenes, decimetres, write_raster
from datamodules.splits.tables import read_split_table

Counts = NDArray[np.uint8]

POTSDAM_TILES = tuple(read_split_table("potsdam"))
# defects of the real archive and habits of its users, written on demand
POTSDAM_QUIRKS = (
    "blend_4_12", "car_colour_6_7", "narrow_3_13", "empty_ownapproach", "unpadded_dsm",
    "capital_tfw", "flat_folders", "labels_in_root", "only_rgbir", "both_label_sets", "no_crs",
)  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 64},
    "demonstration": {"size": 256},
    "real": {"size": 6000, "tiles": ("2_10", "2_13")},
}
GSD = 0.25  # metres; five times the real one, so that streets and houses fit into a small tile
WEST, NORTH = 366976.5, 5809761.0  # upper left corner of tile 2_10, UTM zone 33N


def write_potsdam(
    root: Path, *, size: int = 256, seed: int = 0, tiles: Sequence[str] | None = None,
    quirks: Collection[str] = (), progress: bool = False,
) -> None:  # fmt: skip
    """Write painted scenes under `root` as an unpacked copy of the ISPRS Potsdam archive.

    A tile (side `size` in pixels of 0.25 m) depends on (seed, tile, size) alone. `tiles` are ids
    such as "2_10", all 38 when None; `quirks` are names of `POTSDAM_QUIRKS`, each a defect or a
    habit seen on real disks. ValueError for an unknown tile or quirk, or a size below 32.
    """
    wanted = POTSDAM_TILES if tiles is None else tiles
    for tile in checked_scenes(wanted, POTSDAM_TILES, size, quirks, POTSDAM_QUIRKS, progress):
        _TileWriter(Path(root), frozenset(quirks), tile, size, seed).write_all()


def potsdam_scene(size: int, seed: int, tile: str) -> Scene:
    """Paint the scene behind one tile: what is really there, before any sensor has seen it."""
    return paint_scene(size, GSD, _generator(seed, tile, size, 0))


def _generator(seed: int, tile: str, size: int, stage: int) -> np.random.Generator:
    return np.random.default_rng([seed, *_place_of(tile), size, stage])


def _place_of(tile: str) -> tuple[int, int]:
    """Return row and column of a tile in the grid of the survey."""
    row, column = map(int, tile.split("_"))
    return row, column


@dataclass(frozen=True)
class _TileWriter:
    """Writes the files of one tile."""

    root: Path
    quirks: frozenset[str]
    tile: str
    size: int
    seed: int

    def write_all(self) -> None:
        scene = potsdam_scene(self.size, self.seed, self.tile)
        rgbn = take_orthophoto(scene, _generator(self.seed, self.tile, self.size, 1))
        relief = surface_model(scene, _generator(self.seed, self.tile, self.size, 2))
        self._write_orthophotos(rgbn)
        self._write_heights(relief)
        full, eroded = self._label_pictures(scene.label, rgbn[:3])
        if "labels_in_root" in self.quirks:
            self._write_labels("", "", full, eroded)
        else:
            self._write_labels("5_Labels_all", "5_Labels_all_noBoundary", full, eroded)
        given = read_split_table("potsdam")[self.tile]["split_official"] == "train"
        if given and "both_label_sets" in self.quirks:
            folder = "5_Labels_for_participants"
            paths = self._write_labels(folder, f"{folder}_no_Boundary", full, eroded)
            for path in paths:
                self._write_place(path)

    @property
    def _corner(self) -> tuple[float, float]:
        """Easting and northing (m) of the upper left corner; neighbours in the grid touch."""
        row, column = _place_of(self.tile)
        side = self.size * GSD
        return WEST + (column - 10) * side, NORTH - (row - 2) * side

    def _folder(self, name: str) -> Path:
        return self.root / name if "flat_folders" in self.quirks else self.root / name / name

    def _write_place(self, raster: Path) -> None:
        suffix = ".TFW" if "capital_tfw" in self.quirks else ".tfw"
        west, north = self._corner
        # a world file names the centre of the first pixel, not its corner
        write_world_file(raster.with_suffix(suffix), GSD, west + GSD / 2, north - GSD / 2)

    def _write_orthophotos(self, rgbn: Counts) -> None:
        from rasterio.transform import from_origin

        profile: dict[str, Any] = {}
        if "no_crs" not in self.quirks:
            place = from_origin(*self._corner, GSD, GSD)
            profile = {"crs": "EPSG:32633", "transform": place}
            # the real archive's tiling, where a picture is large enough for it
            if self.size >= 608:
                profile |= {"tiled": True, "blockxsize": 608, "blockysize": 608}
        # one survey in three files: four bands, and two selections of three
        pictures = {"4_Ortho_RGBIR": rgbn}
        if "only_rgbir" not in self.quirks:
            pictures |= {"2_Ortho_RGB": rgbn[:3], "3_Ortho_IRRG": rgbn[[3, 0, 1]]}
        for folder, bands in pictures.items():
            kind = folder.split("_")[-1]
            compress = {"compress": "packbits"} if kind == "RGBIR" else {}
            path = self._folder(folder) / f"top_potsdam_{self.tile}_{kind}.tif"
            write_raster(path, bands, **compress, **profile)
            self._write_place(path)

    def _write_heights(self, relief: NDArray[np.float32]) -> None:
        """Write the surface model, and the heights above ground that others derived from it."""
        row, column = _place_of(self.tile)
        name = f"{row:02}_{column:02}"
        if "unpadded_dsm" in self.quirks:
            name = self.tile
        narrow = "narrow_3_13" in self.quirks and self.tile == "3_13"
        width = self.size - narrow
        dsm = (self._terrain() + relief).astype(np.float32)
        path = self._folder("1_DSM") / f"dsm_potsdam_{name}.tif"
        write_raster(path, dsm[None, :, :width])
        self._write_place(path)
        counts = decimetres(relief)[:, :, :width]
        for approach in ("lastools", "ownapproach"):
            if approach == "ownapproach" and "empty_ownapproach" in self.quirks:
                counts = counts * 0
            file = f"dsm_potsdam_{name}_normalized_{approach}.jpg"
            write_raster(self._folder("1_DSM_normalisation") / file, counts, "JPEG", quality=90)

    def _terrain(self) -> NDArray[np.float64]:
        """Return ground heights `(H, W)` in m: about 35, slopes of 1-2 %, one ground for all."""
        west, north = self._corner
        pixels = (np.arange(self.size) + 0.5) * GSD
        east = (west - WEST + pixels)[None, :]
        south = (NORTH - north + pixels)[:, None]
        waves = 35.0 + 1.6 * np.sin(east / 150 + 0.7) + 1.2 * np.sin(south / 120)
        return waves + 0.4 * np.sin((east + 2 * south) / 90)

    def _label_pictures(self, label: Counts, rgb: Counts) -> tuple[Counts, Counts]:
        """Return the full and the eroded label in colours, with their known defects if asked."""
        full, eroded = paint_label(label), paint_label(erode_label(label))
        if "car_colour_6_7" in self.quirks and self.tile == "6_7":
            cars = np.flatnonzero(label == CAR)
            # the real file keeps 2.7 % of its car pixels pure
            full[0].flat[np.delete(cars, np.s_[::37])] = 252
        if "blend_4_12" in self.quirks and self.tile == "4_12":
            full = np.rint(0.83 * full + 0.17 * rgb).astype(np.uint8)
            eroded = np.rint(0.83 * eroded + 0.17 * rgb).astype(np.uint8)
        return full, eroded

    def _write_labels(
        self, full_folder: str, eroded_folder: str, full: Counts, eroded: Counts
    ) -> tuple[Path, Path]:
        paths = (
            self.root / full_folder / f"top_potsdam_{self.tile}_label.tif",
            self.root / eroded_folder / f"top_potsdam_{self.tile}_label_noBoundary.tif",
        )
        write_raster(paths[0], full)
        write_raster(paths[1], eroded)
        return paths
