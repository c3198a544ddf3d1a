"""The ISPRS Potsdam layout around painted scenes: names, folders, bands, georeference and defects of the real archive.

Source of every name and rule: dataset dossier, sections 2, 3.1-3.5 and 11.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial.canvas import CAR
from datamodules.miniature.aerial.scene import Scene, paint_scene
from datamodules.miniature.aerial.sensors import surface_model, take_orthophoto
from datamodules.miniature.isprs_labels import erode_label, paint_label
from datamodules.miniature.raster_io import write_raster

POTSDAM_TILES: tuple[str, ...] = tuple(
    f"{row}_{column}"
    for row, columns in {
        2: range(10, 15), 3: range(10, 15), 4: range(10, 16), 5: range(10, 16), 6: range(7, 16), 7: range(7, 14)
    }.items()
    for column in columns
)  # fmt: skip
PARTICIPANT_TILES = frozenset(
    [
        "2_10",
        "2_11",
        "2_12",
        "3_10",
        "3_11",
        "3_12",
        "4_10",
        "4_11",
        "4_12",
        "5_10",
        "5_11",
        "5_12",
        "6_7",
        "6_8",
        "6_9",
        "6_10",
        "6_11",
        "6_12",
        "7_7",
        "7_8",
        "7_9",
        "7_10",
        "7_11",
        "7_12",
    ]
)
POTSDAM_QUIRKS: dict[str, str] = {
    "blend_4_12": "labels of 4_12 are 0.83 label + 0.17 image",
    "car_colour_6_7": "most cars of label 6_7 are (252, 255, 0)",
    "narrow_3_13": "DSM and nDSM of 3_13 lack their last column",
    "empty_ownapproach": "every ownapproach nDSM is all zero",
    "unpadded_dsm": "DSM and nDSM names without leading zeros",
    "capital_tfw": "world files end in .TFW",
    "flat_folders": "one folder level instead of two equal ones",
    "labels_in_root": "both 38-label archives unpacked into the root itself",
    "only_rgbir": "no RGB and no IRRG folder",
    "both_label_sets": "the 24 participant labels (full and eroded) beside the 38",
    "no_crs": "TOP files without CRS and transform inside",
}
SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 64},
    "demonstration": {"size": 256},
    "real": {"size": 6000, "tiles": ("2_10", "2_13")},
}
GSD = 0.25  # metres; five times the real one, so that streets and houses fit into a small tile
WEST, NORTH = 366976.5, 5809761.0  # upper left corner of tile 2_10, UTM zone 33N


def potsdam_ids(size: int = 64, tiles: Sequence[str] | None = None) -> list[str]:
    """Return the tiles that `write_potsdam` writes with these arguments."""
    return list(POTSDAM_TILES if tiles is None else tiles)


def write_potsdam(
    root: Path,
    *,
    size: int = 256,
    seed: int = 0,
    tiles: Sequence[str] | None = None,
    quirks: Collection[str] = (),
    progress: bool = False,
) -> None:
    """Write painted scenes under `root` as an unpacked copy of the ISPRS Potsdam archive.

    Args:
        root: folder that receives `2_Ortho_RGB/2_Ortho_RGB/...` and its siblings; created when absent.
        size: tile side in pixels of 0.25 m.
        seed: another seed is another town. A tile depends on (seed, tile, size) alone.
        tiles: ids such as "2_10"; all 38 when None.
        quirks: names from `POTSDAM_QUIRKS`, each a defect or a habit seen on real disks.
        progress: show a progress bar.

    Raises:
        ValueError: for an unknown tile or quirk, or a size below 32.
    """
    unknown = sorted(set(quirks) - POTSDAM_QUIRKS.keys())
    if unknown:
        raise ValueError(f"unknown quirk {', '.join(unknown)}; valid: {', '.join(POTSDAM_QUIRKS)}")
    wanted = potsdam_ids(size, tiles)
    for tile in wanted:
        _check(size, tile)
    if progress:
        from rich.progress import track

        steps: Iterable[str] = track(wanted, description="miniature")
    else:
        steps = wanted
    for tile in steps:
        _write_tile(Path(root), tile, size, seed, frozenset(quirks))


def potsdam_truth(size: int, seed: int, tile: str) -> NDArray[np.uint8]:
    """Return the true class ids (H x W uint8, ISPRS order: 0 impervious surface ... 5 clutter) of one tile.

    Raises:
        ValueError: for an unknown tile or a size below 32.
    """
    return potsdam_scene(size, seed, tile).label


def potsdam_scene(size: int, seed: int, tile: str) -> Scene:
    """Paint the scene behind one tile: what is really there, before any sensor has seen it."""
    _check(size, tile)
    return paint_scene(size, GSD, _generator(seed, tile, size, 0))


def _check(size: int, tile: str) -> None:
    if tile not in POTSDAM_TILES:
        raise ValueError(f"unknown Potsdam tile {tile!r}; valid: {', '.join(POTSDAM_TILES)}")
    if size < 32:
        raise ValueError(f"size {size} is too small: a tile needs at least 32 pixels")


def _generator(seed: int, tile: str, size: int, stage: int) -> np.random.Generator:
    row, column = map(int, tile.split("_"))
    return np.random.default_rng([seed, row, column, size, stage])


def _corner(tile: str, size: int) -> tuple[float, float]:
    """Return easting and northing (m) of the tile's upper left corner; neighbours in the grid touch."""
    row, column = map(int, tile.split("_"))
    return WEST + (column - 10) * size * GSD, NORTH - (row - 2) * size * GSD


def _terrain(tile: str, size: int) -> NDArray[np.float64]:
    """Return ground heights (H x W, m): about 35 m, slopes of 1-2 %, continuous over the whole grid."""
    west, north = _corner(tile, size)
    east = (west - WEST + (np.arange(size) + 0.5) * GSD)[None, :]
    south = (NORTH - north + (np.arange(size) + 0.5) * GSD)[:, None]
    return (
        35.0
        + 1.6 * np.sin(east / 150 + 0.7)
        + 1.2 * np.sin(south / 120)
        + 0.4 * np.sin((east + 2 * south) / 90)
    )


def _write_tile(root: Path, tile: str, size: int, seed: int, quirks: frozenset[str]) -> None:
    scene = potsdam_scene(size, seed, tile)
    rgbn = take_orthophoto(scene, _generator(seed, tile, size, 1))
    relief = surface_model(scene, _generator(seed, tile, size, 2))
    dsm = (_terrain(tile, size) + relief).astype(np.float32)
    corner = _corner(tile, size)
    suffix = ".TFW" if "capital_tfw" in quirks else ".tfw"

    def folder(name: str) -> Path:
        return root / name if "flat_folders" in quirks else root / name / name

    tops = {"4_Ortho_RGBIR": ("RGBIR", rgbn)}
    if "only_rgbir" not in quirks:
        tops |= {"2_Ortho_RGB": ("RGB", rgbn[:3]), "3_Ortho_IRRG": ("IRRG", rgbn[[3, 0, 1]])}
    for name, (kind, bands) in tops.items():
        path = folder(name) / f"top_potsdam_{tile}_{kind}.tif"
        _write_top(path, bands, None if "no_crs" in quirks else corner, kind == "RGBIR")
        _write_world_file(path.with_suffix(suffix), corner)

    width = size - 1 if "narrow_3_13" in quirks and tile == "3_13" else size
    row, column = tile.split("_")
    name = tile if "unpadded_dsm" in quirks else f"{int(row):02}_{int(column):02}"
    path = folder("1_DSM") / f"dsm_potsdam_{name}.tif"
    write_raster(path, dsm[None, :, :width])
    _write_world_file(path.with_suffix(suffix), corner)
    counts = np.clip(np.rint(10 * relief), 0, 255).astype(np.uint8)[None, :, :width]
    for approach in ("lastools", "ownapproach"):
        path = folder("1_DSM_normalisation") / f"dsm_potsdam_{name}_normalized_{approach}.jpg"
        image = (
            counts * 0 if approach == "ownapproach" and "empty_ownapproach" in quirks else counts
        )
        write_raster(path, image, "JPEG", quality=90)
    _write_labels(root, tile, scene.label, rgbn[:3], corner, suffix, quirks)


def _write_labels(
    root: Path,
    tile: str,
    label: NDArray[np.uint8],
    rgb: NDArray[np.uint8],
    corner: tuple[float, float],
    suffix: str,
    quirks: frozenset[str],
) -> None:
    """Write full and eroded palette labels of one tile into the complete and, when asked, the participants' set."""
    full, eroded = paint_label(label), paint_label(erode_label(label))
    if "car_colour_6_7" in quirks and tile == "6_7":
        cars = np.flatnonzero(label == CAR)
        full[0].flat[np.delete(cars, np.s_[::37])] = (
            252  # the real file keeps 2.7 % of its car pixels pure
        )
    if "blend_4_12" in quirks and tile == "4_12":
        full, eroded = (
            np.rint(0.83 * image + 0.17 * rgb).astype(np.uint8) for image in (full, eroded)
        )
    complete = (
        ("", "") if "labels_in_root" in quirks else ("5_Labels_all", "5_Labels_all_noBoundary")
    )
    sets = [(complete, False)]
    if "both_label_sets" in quirks and tile in PARTICIPANT_TILES:
        sets.append((("5_Labels_for_participants", "5_Labels_for_participants_no_Boundary"), True))
    for folders, with_world_file in sets:
        for name, end, image in zip(
            folders, ("label", "label_noBoundary"), (full, eroded), strict=True
        ):
            path = root / name / f"top_potsdam_{tile}_{end}.tif"
            write_raster(path, image)
            if with_world_file:
                _write_world_file(path.with_suffix(suffix), corner)


def _write_top(
    path: Path, bands: NDArray[np.uint8], corner: tuple[float, float] | None, packbits: bool
) -> None:
    """Write an optical raster (C x H x W); with `corner` (easting, northing in m) CRS and transform go inside."""
    from rasterio.transform import from_origin

    profile: dict[str, object] = {"compress": "packbits"} if packbits else {}
    if corner is not None:
        profile |= {"crs": "EPSG:32633", "transform": from_origin(*corner, GSD, GSD)}
        if bands.shape[1] >= 608:
            profile |= {"tiled": True, "blockxsize": 608, "blockysize": 608}
    write_raster(path, bands, **profile)


def _write_world_file(path: Path, corner: tuple[float, float]) -> None:
    """Write pixel size, no rotation, and the centre of the upper left pixel, one number a line."""
    west, north = corner
    lines = (GSD, 0.0, 0.0, -GSD, west + GSD / 2, north - GSD / 2)
    path.write_text("".join(f"{value:.12g}\n" for value in lines), encoding="ascii")
