"""The ISPRS Potsdam layout around painted scenes: names, folders, bands and places.

Source of every name and rule: dataset dossier, sections 2, 3.1-3.5 and 11.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial.scene import Scene, paint_scene
from datamodules.miniature.aerial.sensors import surface_model, take_orthophoto
from datamodules.miniature.isprs_labels import erode_label, paint_label
from datamodules.miniature.raster_io import checked_scenes, write_raster
from datamodules.splits.tables import read_split_table

POTSDAM_TILES = tuple(read_split_table("potsdam"))
SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 64},
    "demonstration": {"size": 256},
    "real": {"size": 6000, "tiles": ("2_10", "2_13")},
}
GSD = 0.25  # metres; five times the real one, so that streets and houses fit into a small tile
WEST, NORTH = 366976.5, 5809761.0  # upper left corner of tile 2_10, UTM zone 33N


def write_potsdam(
    root: Path, *, size: int = 256, seed: int = 0, tiles: Sequence[str] | None = None,
    progress: bool = False,
) -> None:  # fmt: skip
    """Write painted scenes under `root` as an unpacked copy of the ISPRS Potsdam archive.

    A tile (side `size` in pixels of 0.25 m) depends on (seed, tile, size) alone. `tiles` are ids
    such as "2_10", all 38 when None. ValueError for an unknown tile, or a size below 32.
    """
    wanted = POTSDAM_TILES if tiles is None else tiles
    for tile in checked_scenes(wanted, POTSDAM_TILES, size, progress):
        _write_tile(Path(root), tile, size, seed)


def potsdam_scene(size: int, seed: int, tile: str) -> Scene:
    """Paint the scene behind one tile: what is really there, before any sensor has seen it."""
    return paint_scene(size, GSD, _generator(seed, tile, size, 0))


def _generator(seed: int, tile: str, size: int, stage: int) -> np.random.Generator:
    return np.random.default_rng([seed, *map(int, tile.split("_")), size, stage])


def _write_tile(root: Path, tile: str, size: int, seed: int) -> None:
    from rasterio.transform import from_origin

    scene = potsdam_scene(size, seed, tile)
    rgbn = take_orthophoto(scene, _generator(seed, tile, size, 1))
    relief = surface_model(scene, _generator(seed, tile, size, 2))
    # a tile's name is its place in the grid of the survey, where neighbours touch
    row, column = map(int, tile.split("_"))
    west, north = WEST + (column - 10) * size * GSD, NORTH - (row - 2) * size * GSD

    def write_placed(path: Path, bands: NDArray[np.generic], **profile: Any) -> None:
        write_raster(path, bands, **profile)
        # a world file names the centre of the first pixel, not its corner
        numbers = (GSD, 0, 0, -GSD, west + GSD / 2, north - GSD / 2)
        lines = "".join(f"{number:.12g}\n" for number in numbers)
        path.with_suffix(".tfw").write_text(lines, encoding="ascii")

    place: dict[str, Any] = {"crs": "EPSG:32633", "transform": from_origin(west, north, GSD, GSD)}
    # the real archive's tiling, where a picture is large enough for it
    if size >= 608:
        place |= {"tiled": True, "blockxsize": 608, "blockysize": 608}
    # one survey in three files: four bands, and two selections of three
    four, three, infrared = "4_Ortho_RGBIR", "2_Ortho_RGB", "3_Ortho_IRRG"
    for folder, bands in ((four, rgbn), (three, rgbn[:3]), (infrared, rgbn[[3, 0, 1]])):
        kind = folder.split("_")[-1]
        compress = {"compress": "packbits"} if folder == four else {}
        path = root / folder / folder / f"top_potsdam_{tile}_{kind}.tif"
        write_placed(path, bands, **compress, **place)
    # the surface model, and the heights above ground that others derived from it
    name = f"dsm_potsdam_{row:02}_{column:02}"
    dsm = (_terrain(west, north, size) + relief).astype(np.float32)
    write_placed(root / "1_DSM/1_DSM" / f"{name}.tif", dsm[None])
    derived = root / "1_DSM_normalisation/1_DSM_normalisation"
    counts = np.clip(np.rint(10 * relief), 0, 255).astype(np.uint8)[None]  # decimetres
    for approach in ("lastools", "ownapproach"):
        path = derived / f"{name}_normalized_{approach}.jpg"
        write_raster(path, counts, "JPEG", quality=90)
    full, eroded = paint_label(scene.label), paint_label(erode_label(scene.label))
    write_raster(root / "5_Labels_all" / f"top_potsdam_{tile}_label.tif", full)
    path = root / "5_Labels_all_noBoundary" / f"top_potsdam_{tile}_label_noBoundary.tif"
    write_raster(path, eroded)


def _terrain(west: float, north: float, size: int) -> NDArray[np.float64]:
    """Return ground heights `(H, W)` in m: about 35, slopes of 1-2 %, one ground for all."""
    pixels = (np.arange(size) + 0.5) * GSD
    east = (west - WEST + pixels)[None, :]
    south = (NORTH - north + pixels)[:, None]
    waves = 35.0 + 1.6 * np.sin(east / 150 + 0.7) + 1.2 * np.sin(south / 120)
    return waves + 0.4 * np.sin((east + 2 * south) / 90)
