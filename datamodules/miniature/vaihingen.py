"""The ISPRS Vaihingen layout around painted scenes: names, folders, bands, sizes and habits of the real archives.

Source of every name and rule: dataset dossier, sections 2, 4 and 11.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial.canvas import CLUTTER, INDEX, LOW_VEGETATION, MATERIALS
from datamodules.miniature.aerial.scene import Scene, paint_scene
from datamodules.miniature.aerial.sensors import surface_model, take_orthophoto
from datamodules.miniature.isprs_labels import erode_label, paint_label
from datamodules.miniature.raster_io import write_raster

STRAY = "area9"  # its eroded label is distributed, its image is not
VAIHINGEN_QUIRKS: dict[str, str] = {
    "official_nesting": "top, dsm and gts_for_participants inside ISPRS_semantic_labeling_Vaihingen",
    "labels_in_root": "both complete label archives unpacked into the root itself",
    "labels_on_desktop": "the complete labels in a folder Desktop, the heights in one called gtx",
    "only_participants_folder": "complete labels in gts_for_participants, in the place of the 16",
    "mobanet_folders": "top, dsm and label, which holds the eroded labels; no other label",
    "undecided_folders": "images and complete labels in folders whose names say nothing; no participants' labels",
    "nested_twice": "every folder inside another one of its name",
    "copies": "a second copy of half of the images in old/top, of the labels in old/gt",
    "capital_extension": ".TIF",
    "tiff_extension": ".tiff",
    "one_pixel_dsm": "the DSM lacks the last column in odd tiles, has a row too many in even ones",
    "dsm_world_files": "a .tfw beside every DSM (geoinfo archive)",
    "ndsm_bmp": "ndsm/ndsm_09cm_matching_area<N>.bmp",
    "ndsm_jpg": "dsm/dsm_09cm_matching_area<N>_normalized.jpg",
    "ndsm_folder": "NDSM/dsm_09cm_matching_area<N>.jpg",
}
GSD = 0.25  # metres; nearly three times the real one, so that streets and houses fit into a small tile
NOMINAL = 2557  # rows of the commonest real tile: `size` rows in the copy
SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 64},
    "demonstration": {"size": 288},
    "real": {"size": NOMINAL, "tiles": ("area1", "area2")},
}
SPLITS = Path(__file__).parents[1] / "splits" / "vaihingen.csv"


@cache
def _table() -> dict[str, dict[str, str]]:
    with SPLITS.open(encoding="utf-8", newline="") as stream:
        return {row["tile"]: row for row in csv.DictReader(stream)}


VAIHINGEN_TILES: tuple[str, ...] = tuple(_table())
PARTICIPANT_TILES = frozenset(
    tile for tile, row in _table().items() if row["split_official"] == "train"
)
# most tiles of the real dataset have no clutter at all, and all together 0.8 % (dossier 4.5)
CLUTTER_TILES = frozenset(
    {"area3", "area7", "area11", "area15", "area23", "area27", "area31", "area35", "area38"}
)


def vaihingen_ids(size: int = 64, tiles: Sequence[str] | None = None) -> list[str]:
    """Return the scenes that `write_vaihingen` writes with these arguments."""
    return list(VAIHINGEN_TILES if tiles is None else tiles)


def write_vaihingen(
    root: Path,
    *,
    size: int = 64,
    seed: int = 0,
    tiles: Sequence[str] | None = None,
    quirks: Collection[str] = (),
    progress: bool = False,
) -> None:
    """Write painted scenes under `root` as an unpacked copy of the ISPRS Vaihingen archives.

    Args:
        root: folder that receives `top/`, `dsm/`, `gts_for_participants/` and the two complete label folders.
        size: rows of a tile that has 2557 in reality; the others are larger or smaller in proportion. A pixel is
            0.25 m, which no file says: these have no georeference.
        seed: another seed is another town. A tile depends on (seed, tile, size) alone.
        tiles: ids such as "area7"; all 33 when None.
        quirks: names from `VAIHINGEN_QUIRKS`, each a habit seen on real disks.
        progress: show a progress bar.

    Raises:
        ValueError: for an unknown tile or quirk, or a size below 32.
    """
    if unknown := sorted(set(quirks) - VAIHINGEN_QUIRKS.keys()):
        raise ValueError(
            f"unknown quirk {', '.join(unknown)}; valid: {', '.join(VAIHINGEN_QUIRKS)}"
        )
    wanted = vaihingen_ids(size, tiles)
    for tile in wanted:
        _check(size, tile)
    if progress:
        from rich.progress import track

        steps: Iterable[str] = track(wanted, description="miniature")
    else:
        steps = wanted
    layout = _Layout(Path(root), frozenset(quirks))
    for tile in steps:
        _write_tile(layout, tile, size, seed)
    stray = erode_label(vaihingen_scene(size, seed, STRAY).label)
    write_raster(layout.path("eroded", f"top_mosaic_09cm_{STRAY}_noBoundary"), paint_label(stray))


def vaihingen_truth(size: int, seed: int, tile: str) -> NDArray[np.uint8]:
    """Return the true class ids (H x W uint8, ISPRS order: 0 impervious surface ... 5 clutter) of one tile.

    Raises:
        ValueError: for an unknown tile or a size below 32.
    """
    _check(size, tile)
    return vaihingen_scene(size, seed, tile).label


def vaihingen_shape(size: int, tile: str) -> tuple[int, int]:
    """Return height and width of a tile in pixels: the nominal sides, scaled so that 2557 become `size`."""
    row = _table().get(tile) or {"nominal_side_a": str(NOMINAL), "nominal_side_b": "1887"}
    height, width = (
        max(32, round(int(row[f"nominal_side_{side}"]) * size / NOMINAL)) for side in "ab"
    )
    return height, width


def vaihingen_scene(size: int, seed: int, tile: str) -> Scene:
    """Paint the scene behind one tile: the upper left part of a square, without clutter in most tiles."""
    height, width = vaihingen_shape(size, tile)
    scene = paint_scene(max(height, width), GSD, _generator(seed, tile, size, 0))
    cut = (slice(0, height), slice(0, width))
    scene = replace(
        scene,
        label=scene.label[cut].copy(),
        height=scene.height[cut].copy(),
        material=scene.material[cut].copy(),
        reflectance=scene.reflectance[:, cut[0], cut[1]].copy(),
    )
    if tile not in CLUTTER_TILES:
        lawn = MATERIALS[INDEX["lawn"]]
        there = scene.label == CLUTTER
        scene.label[there], scene.height[there], scene.material[there] = (
            LOW_VEGETATION,
            0,
            INDEX["lawn"],
        )
        scene.reflectance[:, there] = np.array(lawn.counts, np.float32)[:, None]
    return scene


def _check(size: int, tile: str) -> None:
    if tile not in VAIHINGEN_TILES:
        raise ValueError(f"unknown Vaihingen tile {tile!r}; valid: {', '.join(VAIHINGEN_TILES)}")
    if size < 32:
        raise ValueError(f"size {size} is too small: a tile needs at least 32 pixels")


def _generator(seed: int, tile: str, size: int, stage: int) -> np.random.Generator:
    return np.random.default_rng([seed, 33, int(tile.removeprefix("area")), size, stage])


def _terrain(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return ground heights (H x W, m) of a hill town: about 280 m, another level per tile, slopes of some 3 %."""
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
        self.suffix = (
            ".TIF"
            if "capital_extension" in quirks
            else ".tiff"
            if "tiff_extension" in quirks
            else ".tif"
        )
        complete = "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE"
        self.folders = {
            "top": "top",
            "dsm": "dsm",
            "participants": "gts_for_participants",
            "label": complete,
            "eroded": complete.replace("COMPLETE", "eroded_COMPLETE"),
        }
        if "labels_in_root" in quirks:
            self.folders |= {"label": "", "eroded": ""}
        if "labels_on_desktop" in quirks:
            self.folders |= {"label": "Desktop", "dsm": "gtx"}
        if "only_participants_folder" in quirks:
            self.folders |= {"label": "gts_for_participants"}
        if "mobanet_folders" in quirks:
            self.folders |= {"eroded": "label"}
        if "undecided_folders" in quirks:
            self.folders |= {"top": "a", "label": "b"}
        if "official_nesting" in quirks:
            inside = ("top", "dsm", "participants")
            self.folders |= {
                kind: f"ISPRS_semantic_labeling_Vaihingen/{self.folders[kind]}" for kind in inside
            }

    def path(self, kind: str, name: str, suffix: str = "") -> Path:
        """Return the path of a file of `kind` (a key of `folders`, or a folder's own name)."""
        folder = self.folders.get(kind, kind)
        if "nested_twice" in self.quirks and folder:
            folder = f"{folder}/{folder.split('/')[-1]}"
        return self.root / folder / (name + (suffix or self.suffix))

    def label_kinds(self, tile: str) -> list[str]:
        """Return which folders get the full label of a tile."""
        if "mobanet_folders" in self.quirks:
            return []
        alone = {"undecided_folders", "only_participants_folder"} & self.quirks
        return ["label", "participants"] if tile in PARTICIPANT_TILES and not alone else ["label"]


def _write_tile(layout: _Layout, tile: str, size: int, seed: int) -> None:
    scene = vaihingen_scene(size, seed, tile)
    irrg = take_orthophoto(scene, _generator(seed, tile, size, 1))[[3, 0, 1]]
    relief = surface_model(scene, _generator(seed, tile, size, 2))
    dsm = (_terrain(relief.shape, _generator(seed, tile, size, 3)) + relief).astype(np.float32)[
        None
    ]
    number = int(tile.removeprefix("area"))
    if "one_pixel_dsm" in layout.quirks:
        dsm = dsm[..., :-1] if number % 2 else np.concatenate([dsm, dsm[:, -1:] - 3], axis=1)
    top, label, heights = (
        f"top_mosaic_09cm_{tile}",
        paint_label(scene.label),
        f"dsm_09cm_matching_{tile}",
    )
    write_raster(layout.path("top", top), irrg)
    write_raster(layout.path("dsm", heights), dsm)
    for kind in layout.label_kinds(tile):
        write_raster(layout.path(kind, top), label)
    write_raster(layout.path("eroded", f"{top}_noBoundary"), paint_label(erode_label(scene.label)))
    if "copies" in layout.quirks and number % 2:
        write_raster(layout.path("old/top", top), irrg)
        write_raster(layout.path("old/gt", top), label)
    if "dsm_world_files" in layout.quirks:
        values = (0.09, 0.0, 0.0, -0.09, 497074.0 + 300 * number, 5419772.0)  # dossier 4.3
        layout.path("dsm", heights, ".tfw").write_text(
            "".join(f"{v:.12g}\n" for v in values), encoding="ascii"
        )
    counts = np.clip(np.rint(10 * relief), 0, 255).astype(np.uint8)[None]
    if "ndsm_bmp" in layout.quirks:
        write_raster(layout.path("ndsm", f"n{heights}", ".bmp"), counts, "BMP")
    if "ndsm_jpg" in layout.quirks:
        write_raster(
            layout.path("dsm", f"{heights}_normalized", ".jpg"), counts, "JPEG", quality=90
        )
    if "ndsm_folder" in layout.quirks:
        write_raster(layout.path("NDSM", heights, ".jpg"), counts, "JPEG", quality=90)
