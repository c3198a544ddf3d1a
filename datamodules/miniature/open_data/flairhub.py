"""The FLAIR-HUB layout around painted scenes (dossier of open datasets, sections 4.2 to 4.5)."""

import sqlite3
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.miniature.aerial.canvas import (
    BUILDING,
    CAR,
    CLUTTER,
    IMPERVIOUS,
    LOW_VEGETATION,
    TREE,
)
from datamodules.miniature.aerial.farmland import paint_farmland
from datamodules.miniature.aerial.scene import paint_scene
from datamodules.miniature.aerial.sensors import take_orthophoto
from datamodules.miniature.aerial.survey import Survey, survey_scene
from datamodules.miniature.raster_io import checked_scenes, write_raster

SIDE_M = 102.4  # of a patch, whatever its pixels are
# half as many to validate on
DOMAINS = {"D006-2020": 2, "D024047-2021": 2, "D032-2019": 1, "D012-2019": 2}
TEST = "D012-2019"
REGIONS = "FF-S1-14", "AA-S1-V18"
RURAL = REGIONS[1]
SIZES: dict[str, dict[str, Any]] = {
    "test": {"size": 64, "patches": 1},
    "demonstration": {"size": 256, "patches": 5},
    "real": {"size": 512, "patches": 1},
}
# raw values of the release
BY_CLASS = {IMPERVIOUS: 3, BUILDING: 0, LOW_VEGETATION: 8, TREE: 12, CAR: 3, CLUTTER: 18}
BY_MATERIAL = {"pool": 2, "mossy": 4, "turf": 4, "soil": 5, "water": 6}
BY_CROP = 9, 10, 11, 13, 14, 1  # in the order of `CROPS`
# counts of SPOT per count of the aerial camera: means of both (section 4.6)
SPOT_GAIN = np.array([433 / 106, 509 / 111, 468 / 102, 1137 / 107])[:, None, None]
SPOT, HISTORICAL = 8, 2  # pixels of the aerial camera along one of theirs
FIELD = 135  # grey value of what lay where houses are now


def flairhub_ids(size: int = 64, patches: int = 1) -> list[str]:
    """List the patches that `write_flairhub` writes with these arguments.

    Example:
        >>> flairhub_ids(patches=1)[-2:]
        ['D012-2019_FF-S1-14_1-5', 'D012-2019_AA-S1-V18_1-5']
    """
    ids = []
    for domain, share in DOMAINS.items():
        for number in range(share * patches):
            place, region = divmod(number, len(REGIONS))
            ids.append(f"{domain}_{REGIONS[region]}_{place + 1}-{place + 5}")
    return ids


def write_flairhub(
    root: Path, *, size: int = 64, seed: int = 0, patches: int = 1, progress: bool = False
) -> None:
    """Write painted scenes under `root` as an unpacked copy of FLAIR-HUB, with its list of splits.

    A department has `patches` or twice as many (102.4 m, side `size` in aerial pixels), which
    depend on (seed, id, size) alone. ValueError for a size below 32.
    """
    ids = flairhub_ids(size, patches)
    for patch in checked_scenes(ids, ids, size, progress):
        prefix, region, place = patch.split("_")
        code = zlib.crc32(patch.encode())
        rng = np.random.default_rng([seed, code, size])
        scene = paint_scene(size, SIDE_M / size, np.random.default_rng([seed, code, size, 0]))
        crops = paint_farmland(scene, rng) if region == RURAL else np.zeros((size, size), int)
        survey = survey_scene(scene, [seed, code])
        raw = survey.relabel(BY_CLASS, BY_MATERIAL)
        raw[:, crops > 0] = np.array(BY_CROP)[crops[crops > 0] - 1]
        pictures: dict[str, NDArray[Any]] = {
            f"{prefix}_AERIAL_RGBI": survey.rgbn,
            f"{prefix}_DEM_ELEV": elevation(survey, rng),
            f"{prefix}_SPOT_RGBI": satellite(survey, rng),
            f"{prefix.split('-')[0]}-195X_AERIAL-RLT_PAN": old_picture(survey, rng),
            f"{prefix}_AERIAL_LABEL-COSIA": raw,
        }
        for name, bands in pictures.items():
            path = Path(root) / name / region / f"{name}_{region}_{place}.tif"
            write_raster(path, bands, crs="EPSG:2154", transform=_grid(code, bands.shape[-1]))
    write_split_list(Path(root) / "GLOBAL_ALL_MTD" / "GLOBAL_ALL_MTD_SPLIT.gpkg", ids)


def _grid(code: int, side: int) -> Any:
    """Return where a patch lies, in pixels of which `side` make it up."""
    from affine import Affine

    west, north = 600_000 + SIDE_M * (code % 1000), 6_600_000 + SIDE_M * (code % 997)
    return Affine(SIDE_M / side, 0, west, 0, -SIDE_M / side, north)


def mean_of_blocks(bands: NDArray[Any], side: int) -> NDArray[np.float64]:
    """Return the means of `side` x `side` pixels, `(C, h, w)` from `(C, H, W)`."""
    channels, height, width = bands.shape
    blocks = bands.reshape(channels, height // side, side, width // side, side)
    return np.asarray(blocks.mean(axis=(2, 4), dtype=np.float64))


def elevation(survey: Survey, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return altitudes of surface and terrain, `(2, H, W)`: a slope, and what stands on it."""
    size = survey.scene.label.shape[0]
    steps = np.linspace(0, 1, size)
    rise = rng.uniform(-6, 6, 2)
    terrain = rng.uniform(20, 900) + rise[0] * steps[:, None] + rise[1] * steps
    return np.stack([terrain + survey.heights[0], terrain]).astype(np.float32)


def satellite(survey: Survey, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return the same ground in another light, from space: uint16 `(4, H/8, W/8)`."""
    counts = SPOT_GAIN * mean_of_blocks(take_orthophoto(survey.scene, rng), SPOT)
    counts *= np.exp(rng.normal(0, 0.02, counts.shape))
    return np.rint(counts).astype(np.uint16)


def old_picture(survey: Survey, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return grey values of the 1950s, `(1, H/2, W/2)`: half of the buildings were not there."""
    pieces, number = ndimage.label(survey.scene.label == BUILDING)
    gone = rng.random(number + 1) < 0.5
    gone[0] = False
    grey = survey.rgbn[:3].mean(axis=0)
    grey[gone[pieces]] = FIELD
    film = mean_of_blocks(ndimage.gaussian_filter(grey, 1.0)[None], HISTORICAL)
    film = 1.2 * film + rng.normal(0, 8, film.shape)
    return np.clip(np.rint(film), 0, 255).astype(np.uint8)


def write_split_list(path: Path, patches: Sequence[str]) -> None:
    """Write the part of every patch as the release does: an SQLite file with a table of patches."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    rows = []
    for number, patch in enumerate(patches):
        # whole departments are test; the others' patches are drawn, one in five to validate on
        drawn = "valid" if number % 5 == 4 else "train"
        rows.append((patch, "test" if patch.startswith(TEST) else drawn))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE GLOBAL_ALL_MTD_SPLIT (patch_id TEXT, split_1 TEXT)")
        database.executemany("INSERT INTO GLOBAL_ALL_MTD_SPLIT VALUES (?, ?)", rows)
