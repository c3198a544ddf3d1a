"""FLAIR-HUB: aerial pictures, elevation and SPOT of France (dossier of open datasets, section 4).

    <DOMAIN>-<YEAR>_<MODALITY>/<ROI>/<DOMAIN>-<YEAR>_<MODALITY>_<ROI>_<i>-<j>.tif

Names say all, so that folders and archives may be called as they like. Kept in the store: `rgb` and
`nir` of the aerial picture, `dsm` (altitude of the surface) and `ndsm` (surface minus terrain),
`spot` and `hist` (the 1950s), whose larger pixels are repeated, and `label`. Time series are left
out.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from datamodules.adapters.open_data import planner, release
from datamodules.adapters.open_data.flairhub_lists import (
    domain_of,
    name_lacking_parts,
    read_lists,
    split_rows,
)
from datamodules.ingest.plan import ImportOptions, ImportPlan
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.rasters.units import invalid_values
from datamodules.splits.tables import read_split_table
from datamodules.store.scene_store import Modality
from usererror import UserError

# rasters of the store: the sensor whose files hold them
TOKEN = {"rgb": "AERIAL_RGBI", "nir": "AERIAL_RGBI", "dsm": "DEM_ELEV", "ndsm": "DEM_ELEV"}
TOKEN |= {"spot": "SPOT_RGBI", "hist": "AERIAL-RLT_PAN", "label": "AERIAL_LABEL-COSIA"}
SERIES = "SENTINEL2_TS", "SENTINEL2_MSK-SC", "SENTINEL1-ASC_TS", "SENTINEL1-DESC_TS"
LEFT_OUT = {"ALL_LABEL-LPIS": "crop types", **dict.fromkeys(SERIES, "time series")}
# names of sensors hold both of the signs that part the others: a closed list
FILE = re.compile(
    rf"(D\d{{3}}(?:\d{{3}})?)-(\d{{4}}|\d{{3}}X)_({'|'.join({*TOKEN.values(), *LEFT_OUT})})"
    r"_([A-Z]{2}-S\d-[A-Z]?\d+_\d+-\d+)\.(?i:tiff?)$"
)
FLAIR_1 = re.compile(r"(?i)(IMG|MSK)_\d+\.tif")
OLD_YEAR = "195X"
OTHER_ORDER = 19  # a value of FLAIR #1 and #2 only
Years = Mapping[tuple[str, str], set[str]]  # of the aerial pictures of (domain, patch)


def path_of(raster: str, patch: str) -> str:
    """Return where the release has a raster of a patch.

    Example:
        >>> path_of("hist", "D012-2019_AF-S1-27_3-10")
        'D012-195X_AERIAL-RLT_PAN/AF-S1-27/D012-195X_AERIAL-RLT_PAN_AF-S1-27_3-10.tif'
    """
    prefix, roi, place = patch.split("_")
    year = OLD_YEAR if raster == "hist" else prefix.split("-")[1]
    folder = f"{domain_of(patch)}-{year}_{TOKEN[raster]}"
    return f"{folder}/{roi}/{folder}_{roi}_{place}.tif"


def plan_flairhub(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a source.

    Raises UserError for files of FLAIR #1 and #2, and patches of which no list knows the part.
    """
    years: dict[tuple[str, str], set[str]] = {}
    for _, match in index.match_names(FILE):
        if match[3] == TOKEN["rgb"]:
            years.setdefault((match[1], match[4]), set()).add(match[2])
    for file, _ in index.match_names(FLAIR_1):
        other = f"{file.origin} is of FLAIR #1 or #2, which number the classes in another order"
        raise UserError(f"{other}: take it away, and import the files of FLAIR-HUB.")
    tiles = planner.find_tiles(RELEASE, index, FILE, partial(place_file, years))
    lists, told = read_lists(index), {}
    chosen = planner.choose_tiles(RELEASE, tiles.files, options)
    rows = split_rows(chosen, lists)
    warnings = name_lacking_parts(chosen, lists)
    for patch in chosen:
        domain, region, _ = patch.split("_")
        told[patch] = {"domain": domain, "region": region}
    return planner.plan_tiles(RELEASE, index, options, tiles, rows, told, (), warnings)


def place_file(years: Years, file: SourceFile, match: re.Match[str]) -> planner.Place:
    """Return patch and sensor of a file, or why it is ignored; UserError for one of two patches."""
    domain, year, token, patch = match.groups()
    if token in LEFT_OUT:
        return LEFT_OUT[token]
    if token == TOKEN["hist"]:
        of = sorted(years.get((domain, patch), ()))
        if not of:
            return "old pictures without a new one"
        if len(of) > 1:
            both = " and ".join(f"{domain}-{new}_{patch}" for new in of)
            raise UserError(f"{file.origin} may belong to {both}: take it, or one of them, away.")
        year = of[0]
    prefix = f"{domain}-{year}"
    if prefix not in read_split_table("flairhub_domains"):
        return f"of {prefix}, which the release has not"
    return f"{prefix}_{patch}", token


def height_above_ground(bands: np.ndarray) -> np.ndarray:
    """Return surface minus terrain `(1, h, w)` from both `(2, h, w)`; NaN where one is void.

    Example:
        >>> height_above_ground(np.array([[[310.0, -9999.0]], [[308.5, -9999.0]]])).tolist()
        [[[1.5, nan]]]
    """
    void = invalid_values(bands, "height_absolute").any(axis=0)
    surface, terrain = np.where(void, np.nan, bands)
    return np.asarray(surface - terrain)[None]


def find_other_order(label: Any) -> str:
    """Say that an open label holds a value which only FLAIR #1 and #2 have, "" if it does not."""
    if not (label.read(1) == OTHER_ORDER).any():
        return ""
    return "the value 19 is of FLAIR #1 or #2, which number the classes in another order"


READINGS = {
    "rgb": release.Reading(TOKEN["rgb"], (1, 2, 3), (4,), release.BYTES, may_reference=True),
    "nir": release.Reading(TOKEN["rgb"], (4,), (4,), release.BYTES),
    "ndsm": release.Reading(TOKEN["dsm"], (1, 2), (2,), release.FLOAT, decode=height_above_ground),
    "dsm": release.Reading(TOKEN["dsm"], (1,), (2,), release.FLOAT, may_reference=True),
    "spot": release.Reading(TOKEN["spot"], (1, 2, 3, 4), (4,), ("uint16",), resize=True, spans=8),
    "hist": release.Reading(TOKEN["hist"], (1,), (1,), release.BYTES, resize=True, spans=2),
    "label": release.Reading(TOKEN["label"], (1,), (1,), release.BYTES, vet=find_other_order),
}
RELEASE = release.Release.read(
    "flairhub",
    modalities=(
        Modality("rgb", "R", 3, "uint8", "counts", "optical"),
        Modality("nir", "N", 1, "uint8", "counts", "optical"),
        Modality("ndsm", "D", 1, "float32", "m", "height_normalised"),
        Modality("dsm", "D", 1, "float32", "m", "height_absolute"),
        Modality("spot", "P", 4, "uint16", "counts", "optical"),
        Modality("hist", "H", 1, "uint8", "counts", "optical"),
    ),
    readings=READINGS,
    needed=("rgb", "label"),
    path_of=path_of,
)
ADAPTER = RELEASE.adapter(plan_flairhub)
