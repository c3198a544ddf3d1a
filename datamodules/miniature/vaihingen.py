"""The ISPRS Vaihingen layout around painted scenes: names, folders, bands, sizes and habits.

Source of every name and rule: dataset dossier, sections 2, 4 and 11.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial.canvas import CLUTTER, INDEX, LOW_VEGETATION, MATERIALS
from datamodules.miniature.aerial.scene import Scene, paint_scene
from datamodules.miniature.aerial.sensors import surface_model, take_orthophoto
from datamodules.miniature.isprs_labels import erode_label, paint_label, write_world_file
from datamodules.miniature.raster_io import checked_scenes, decimetres, write_raster
from datamodules.splits.tables import read_split_table

STRAY = "area9"  # its eroded label is distributed, its image is not
# habits of those who unpacked the archives, written on demand
VAIHINGEN_QUIRKS = (
    "official_nesting", "labels_in_root", "labels_on_desktop", "only_participants_folder",
    "mobanet_folders", "undecided_folders", "nested_twice", "copies", "capital_extension",
    "tiff_extension", "one_pixel_dsm", "dsm_world_files", "ndsm_bmp", "ndsm_jpg", "ndsm_folder",
)  # fmt: skip
GSD = 0.25  # metres; nearly three times the real one, so that streets and houses fit
NOMINAL = 2557  # rows of the commonest real tile: `size` rows in the copy
SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 64},
    "demonstration": {"size": 288},
    "real": {"size": NOMINAL, "tiles": ("area1", "area2")},
}
VAIHINGEN_TILES = tuple(read_split_table("vaihingen"))
# most tiles of the real dataset have no clutter at all, and all together 0.8 % (dossier 4.5)
CLUTTER_TILES = frozenset(f"area{number}" for number in (3, 7, 11, 15, 23, 27, 31, 35, 38))


def write_vaihingen(
    root: Path, *, size: int = 64, seed: int = 0, tiles: Sequence[str] | None = None,
    quirks: Collection[str] = (), progress: bool = False,
) -> None:  # fmt: skip
    """Write painted scenes under `root` as an unpacked copy of the ISPRS Vaihingen archives.

    `size` is the number of rows of a tile that has 2557 in reality; the others are larger or
    smaller in proportion. A pixel is 0.25 m, which no file says. A tile depends on (seed, tile,
    size) alone. `tiles` are ids such as "area7", all 33 when None; `quirks` are names of
    `VAIHINGEN_QUIRKS`. ValueError for an unknown tile or quirk, or a size below 32.
    """
    wanted = VAIHINGEN_TILES if tiles is None else tiles
    layout = _Layout(Path(root), frozenset(quirks))
    for tile in checked_scenes(wanted, VAIHINGEN_TILES, size, quirks, VAIHINGEN_QUIRKS, progress):
        _write_tile(layout, tile, size, seed)
    stray = erode_label(vaihingen_scene(size, seed, STRAY).label)
    write_raster(layout.path_of("eroded", f"{_top_name(STRAY)}_noBoundary"), paint_label(stray))


def vaihingen_shape(size: int, tile: str) -> tuple[int, int]:
    """Return height and width in pixels: the nominal sides, scaled so that 2557 become `size`."""
    # the stray tile has no row, and nobody knows its size
    row = read_split_table("vaihingen").get(tile, {})
    height = int(row.get("nominal_side_a", NOMINAL))
    width = int(row.get("nominal_side_b", 1887))
    scale = size / NOMINAL
    return max(32, round(height * scale)), max(32, round(width * scale))


def vaihingen_scene(size: int, seed: int, tile: str) -> Scene:
    """Paint the scene behind one tile: a corner of a square, without clutter in most tiles."""
    height, width = vaihingen_shape(size, tile)
    whole = paint_scene(max(height, width), GSD, _generator(seed, tile, size, 0))
    label, material = whole.label[:height, :width].copy(), whole.material[:height, :width].copy()
    relief = whole.height[:height, :width].copy()
    reflectance = whole.reflectance[:, :height, :width].copy()
    if tile not in CLUTTER_TILES:
        lawn, clutter = INDEX["lawn"], label == CLUTTER
        label[clutter], relief[clutter], material[clutter] = LOW_VEGETATION, 0, lawn
        reflectance[:, clutter] = np.array(MATERIALS[lawn].counts, np.float32)[:, None]
    return replace(whole, label=label, height=relief, material=material, reflectance=reflectance)


def _number_of(tile: str) -> int:
    return int(tile.removeprefix("area"))


def _top_name(tile: str) -> str:
    return f"top_mosaic_09cm_{tile}"


def _generator(seed: int, tile: str, size: int, stage: int) -> np.random.Generator:
    return np.random.default_rng([seed, 33, _number_of(tile), size, stage])


def _terrain(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return ground heights `(H, W)` in m: about 280, another level per tile, slopes of 3 %."""
    level = np.clip(280 + rng.normal(0, 11), 252, 310)
    down, right = rng.normal(0, 0.025, 2)
    south = (np.arange(shape[0])[:, None] - shape[0] / 2) * GSD
    east = (np.arange(shape[1])[None, :] - shape[1] / 2) * GSD
    waves = np.sin(east / 60 + rng.uniform(0, 6)) + 0.7 * np.sin(south / 45 + rng.uniform(0, 6))
    return level + 12 * np.tanh((down * south + right * east + waves) / 12)


class _Layout:
    """Where the files of a copy go."""

    def __init__(self, root: Path, quirks: frozenset[str]) -> None:
        self.root, self.quirks = root, quirks
        self.suffix = ".tif"
        if "capital_extension" in quirks:
            self.suffix = ".TIF"
        if "tiff_extension" in quirks:
            self.suffix = ".tiff"
        complete = "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE"
        self.folders = {
            "top": "top",
            "dsm": "dsm",
            "participants": "gts_for_participants",
            "label": complete,
            "eroded": complete.replace("COMPLETE", "eroded_COMPLETE"),
        }
        moved = {
            "labels_in_root": {"label": "", "eroded": ""},
            "labels_on_desktop": {"label": "Desktop", "dsm": "gtx"},
            "only_participants_folder": {"label": "gts_for_participants"},
            "mobanet_folders": {"eroded": "label"},
            "undecided_folders": {"top": "a", "label": "b"},
        }
        for quirk, folders in moved.items():
            if quirk in quirks:
                self.folders |= folders
        # last, since it nests whatever the others chose
        if "official_nesting" in quirks:
            for kind in ("top", "dsm", "participants"):
                nested = f"ISPRS_semantic_labeling_Vaihingen/{self.folders[kind]}"
                self.folders[kind] = nested

    def path_of(self, kind: str, name: str, suffix: str = "") -> Path:
        """Return the path of a file of `kind`: a key of `folders`, or a folder's own name."""
        folder = self.folders.get(kind, kind)
        if "nested_twice" in self.quirks and folder:
            folder = f"{folder}/{folder.split('/')[-1]}"
        return self.root / folder / (name + (suffix or self.suffix))

    def label_kinds(self, tile: str) -> list[str]:
        """Return which folders get the full label of a tile."""
        if "mobanet_folders" in self.quirks:
            return []
        alone = {"undecided_folders", "only_participants_folder"} & self.quirks
        given = read_split_table("vaihingen")[tile]["split_official"] == "train"
        return ["label", "participants"] if given and not alone else ["label"]


def _write_tile(layout: _Layout, tile: str, size: int, seed: int) -> None:
    scene = vaihingen_scene(size, seed, tile)
    irrg = take_orthophoto(scene, _generator(seed, tile, size, 1))[[3, 0, 1]]
    relief = surface_model(scene, _generator(seed, tile, size, 2))
    terrain = _terrain(scene.label.shape, _generator(seed, tile, size, 3))
    dsm = (terrain + relief).astype(np.float32)[None]
    # parity decides where a habit is seen in half of the tiles
    odd, quirks = _number_of(tile) % 2 == 1, layout.quirks
    if "one_pixel_dsm" in quirks:
        dsm = dsm[..., :-1] if odd else np.concatenate([dsm, dsm[:, -1:] - 3], axis=1)
    top, heights = _top_name(tile), f"dsm_09cm_matching_{tile}"
    label, eroded = paint_label(scene.label), paint_label(erode_label(scene.label))
    write_raster(layout.path_of("top", top), irrg)
    write_raster(layout.path_of("dsm", heights), dsm)
    for kind in layout.label_kinds(tile):
        write_raster(layout.path_of(kind, top), label)
    write_raster(layout.path_of("eroded", f"{top}_noBoundary"), eroded)
    if "copies" in quirks and odd:
        write_raster(layout.path_of("old/top", top), irrg)
        write_raster(layout.path_of("old/gt", top), label)
    if "dsm_world_files" in quirks:
        west = 497074.0 + 300 * _number_of(tile)  # dossier 4.3
        write_world_file(layout.path_of("dsm", heights, ".tfw"), 0.09, west, 5419772.0)
    # heights above ground, under the names that three groups of authors gave them
    counts = decimetres(relief)
    if "ndsm_bmp" in quirks:
        write_raster(layout.path_of("ndsm", f"n{heights}", ".bmp"), counts, "BMP")
    jpegs = {"ndsm_jpg": ("dsm", f"{heights}_normalized"), "ndsm_folder": ("NDSM", heights)}
    for quirk, (kind, name) in jpegs.items():
        if quirk in quirks:
            write_raster(layout.path_of(kind, name, ".jpg"), counts, "JPEG", quality=90)
