"""The ISPRS Vaihingen layout around painted scenes: names, folders, bands and sizes.

Source of every name and rule: dataset dossier, sections 2, 4 and 11.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial.canvas import CLUTTER, INDEX, LOW_VEGETATION, MATERIALS
from datamodules.miniature.aerial.scene import Scene, paint_scene
from datamodules.miniature.aerial.sensors import surface_model, take_orthophoto
from datamodules.miniature.isprs_labels import erode_label, paint_label
from datamodules.miniature.raster_io import checked_scenes, write_raster
from datamodules.splits.tables import read_split_table

STRAY = "area9"  # its eroded label is distributed, its image is not
COMPLETE = "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE"
ERODED = COMPLETE.replace("COMPLETE", "eroded_COMPLETE")
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
    progress: bool = False,
) -> None:  # fmt: skip
    """Write painted scenes under `root` as an unpacked copy of the ISPRS Vaihingen archives.

    `size` is the number of rows of a tile that has 2557 in reality; the others are larger or
    smaller in proportion. A pixel is 0.25 m, which no file says. A tile depends on (seed, tile,
    size) alone. `tiles` are ids such as "area7", all 33 when None. ValueError for an unknown tile,
    or a size below 32.
    """
    wanted = VAIHINGEN_TILES if tiles is None else tiles
    for tile in checked_scenes(wanted, VAIHINGEN_TILES, size, progress):
        _write_tile(Path(root), tile, size, seed)
    _write_eroded(Path(root), STRAY, vaihingen_scene(size, seed, STRAY))


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
    scene = whole.cut(slice(height), slice(width))
    if tile not in CLUTTER_TILES:
        lawn, clutter = INDEX["lawn"], scene.label == CLUTTER
        scene.label[clutter], scene.height[clutter] = LOW_VEGETATION, 0
        scene.material[clutter] = lawn
        scene.reflectance[:, clutter] = np.array(MATERIALS[lawn].counts, np.float32)[:, None]
    return scene


def _generator(seed: int, tile: str, size: int, stage: int) -> np.random.Generator:
    return np.random.default_rng([seed, 33, int(tile.removeprefix("area")), size, stage])


def _terrain(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return ground heights `(H, W)` in m: about 280, another level per tile, slopes of 3 %."""
    level = np.clip(280 + rng.normal(0, 11), 252, 310)
    down, right = rng.normal(0, 0.025, 2)
    south = (np.arange(shape[0])[:, None] - shape[0] / 2) * GSD
    east = (np.arange(shape[1])[None, :] - shape[1] / 2) * GSD
    waves = np.sin(east / 60 + rng.uniform(0, 6)) + 0.7 * np.sin(south / 45 + rng.uniform(0, 6))
    return level + 12 * np.tanh((down * south + right * east + waves) / 12)


def _write_tile(root: Path, tile: str, size: int, seed: int) -> None:
    scene = vaihingen_scene(size, seed, tile)
    irrg = take_orthophoto(scene, _generator(seed, tile, size, 1))[[3, 0, 1]]
    relief = surface_model(scene, _generator(seed, tile, size, 2))
    terrain = _terrain(scene.label.shape, _generator(seed, tile, size, 3))
    dsm = (terrain + relief).astype(np.float32)[None]
    top, label = f"top_mosaic_09cm_{tile}.tif", paint_label(scene.label)
    write_raster(root / "top" / top, irrg)
    write_raster(root / "dsm" / f"dsm_09cm_matching_{tile}.tif", dsm)
    write_raster(root / COMPLETE / top, label)
    if read_split_table("vaihingen")[tile]["split_official"] == "train":
        write_raster(root / "gts_for_participants" / top, label)
    _write_eroded(root, tile, scene)


def _write_eroded(root: Path, tile: str, scene: Scene) -> None:
    path = root / ERODED / f"top_mosaic_09cm_{tile}_noBoundary.tif"
    write_raster(path, paint_label(erode_label(scene.label)))
