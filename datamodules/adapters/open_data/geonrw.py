"""GeoNRW: orthophotos and surface heights of 43 cities (dossier of open datasets, section 7).

    <root>/<city>/<E>_<N>_rgb.jp2    <E>_<N>_dem.tif    <E>_<N>_seg.tif    [<E>_<N>_sar.tif]

E and N are kilometres in UTM zone 32. Kept in the store: `rgb`, `dem` (m above the sea), `label`;
`nir`, where the pictures have a fourth band that is no transparency; `sar` (decibels of amplitudes
without calibration), which the public archive lacks and only some tiles of a user may have.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from datamodules.adapters.open_data import planner, release
from datamodules.ingest.plan import ImportOptions, ImportPlan
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.rasters.raster_file import check_intact, open_raw
from datamodules.splits.tables import format_counts, read_split_table
from datamodules.store.scene_store import PARTS, Modality
from usererror import UserError

# the zone may stand before the easting
FILE = re.compile(r"(?i)(?:32(?=\d{3}_))?(\d{1,3}_\d{1,4})_(rgb\.jp2|(?:dem|seg|sar)\.tiff?)$")
KINDS = {"rgb": "rgb", "dem": "dem", "seg": "label", "sar": "sar"}
SUFFIXES = {"rgb": "_rgb.jp2", "nir": "_rgb.jp2", "dem": "_dem.tif", "label": "_seg.tif"}
SPLITS = {"split_standard": "split_torchgeo", "split_official": "split_official"}
COUNTS = "the release has 7782 tiles by its README, 7783 by torchgeo's lists"


def plan_geonrw(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a source; raises UserError without tiles, or without JPEG 2000."""
    cities = read_split_table("geonrw_split")
    tiles = planner.find_tiles(RELEASE, index, FILE, partial(place_file, cities))
    infrared, warnings = find_infrared(tiles)
    without = tuple(modality for modality in RELEASE.modalities if modality.name != "nir")
    own = RELEASE if infrared else replace(RELEASE, modalities=without)
    splits = {}
    for tile in tiles.files:
        row = cities[tile.split("/")[0]]
        splits[tile] = {column: row[source] for column, source in SPLITS.items()}
    warnings += drop_repeated(splits)
    told = {tile: {"city": tile.split("/")[0]} for tile in tiles.files}
    missing = planner.lacking_units(cities, (row["city"] for row in told.values()), "the folder")
    plan = planner.plan_tiles(own, index, options, tiles, splits, told, missing, warnings)
    plan.inventory.append(f"  {len(tiles.files)} tiles in all; {COUNTS}")
    return plan


def place_file(cities: Container[str], file: SourceFile, match: re.Match[str]) -> planner.Place:
    """Return tile (`city/E_N`) and raster of a file, or why it is ignored."""
    city = planner.folders_of(file)[-1]
    if city not in cities:
        return "in no folder of a city"
    return f"{city}/{match[1]}", KINDS[match[2][:3].lower()]


def find_infrared(tiles: planner.Tiles) -> tuple[bool, list[str]]:
    """Tell whether the pictures have a band of infrared, and what is odd about the fourth one.

    One picture of each city is looked at: they are slow to read.
    """
    first: dict[str, SourceFile] = {}
    for tile, files in tiles.files.items():
        if "rgb" in files:
            first.setdefault(tile.split("/")[0], files["rgb"])
    _check_driver()
    found = {file.rel: _fourth_band(file) for file in first.values()}
    infrared = [rel for rel, band in found.items() if band == "infrared"]
    if infrared and len(infrared) < len(found):
        lacking = planner.name_some([rel for rel in found if rel not in infrared])
        return False, [f"infrared is left out, since not all pictures have it: not {lacking}"]
    if "transparency" in found.values():
        return False, ["the fourth band of the pictures is 255 throughout and left out"]
    return bool(infrared), []


def _check_driver() -> None:
    import rasterio

    with rasterio.Env() as environment:
        if "JP2OpenJPEG" not in environment.drivers():
            raise UserError(
                "The pictures of GeoNRW are JPEG 2000, which this rasterio cannot read (its GDAL "
                "lacks OpenJPEG): install that of PyPI (pip install --force-reinstall rasterio)."
            )


def _fourth_band(file: SourceFile) -> str:
    """Return what the fourth band of a picture shows: infrared, transparency, or nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        path = file.extract(Path(scratch))
        check_intact(path, file.origin)
        # by number: whether it is called transparency says nothing
        with open_raw(path, file.origin) as dataset:
            if dataset.count < 4:
                return ""
            return "transparency" if (dataset.read(4) == 255).all() else "infrared"


def drop_repeated(splits: Mapping[str, dict[str, str]]) -> list[str]:
    """Set tiles unused whose ground another city has in a later part; say how many they are.

    Tiles were packed per municipality: one at a border may lie in two folders.
    """
    ground: dict[str, list[str]] = {}
    for tile in splits:
        ground.setdefault(tile.split("/")[1], []).append(tile)
    said = []
    for column in SPLITS:
        dropped: Counter[str] = Counter()
        for tiles in ground.values():
            last = max((splits[tile][column] for tile in tiles), key=PARTS.index)
            for tile in tiles:
                if splits[tile][column] != last:
                    dropped[splits[tile][column]] += 1
                    splits[tile][column] = "unused"
        if dropped:
            why = "their ground is in a later part too, in the folder of another city"
            said.append(f"{column}: {format_counts(dropped)} tiles are left out: {why}")
    return said


def to_decibels(amplitude: np.ndarray) -> np.ndarray:
    """Return 20 log10 of amplitudes as float32, NaN where they are 0: there is no data.

    Example:
        >>> to_decibels(np.array([100, 0])).tolist()
        [40.0, nan]
    """
    found = amplitude > 0
    decibels = 20 * np.log10(np.where(found, amplitude, 1))
    return np.where(found, decibels, np.nan).astype(np.float32)


# a fourth band that is called transparency hides nothing
READINGS = {
    "rgb": release.Reading("rgb", (1, 2, 3), (3, 4), release.BYTES, believe=False),
    "nir": release.Reading("rgb", (4,), (4,), release.BYTES, believe=False),
    "dem": release.Reading("dem", (1,), (1,), ("float32", "float64"), may_reference=True),
    "sar": release.Reading("sar", (1,), (1,), ("uint16", "int16", "float32"), decode=to_decibels),
    # some programs save them with more bits: values count
    "label": release.Reading("label", (1,), (1,)),
}
RELEASE = release.Release.read(
    "geonrw",
    modalities=(
        Modality("rgb", "R", 3, "uint8", "counts", "optical"),
        Modality("dem", "D", 1, "float32", "m", "height_absolute"),
        Modality("nir", "N", 1, "uint8", "counts", "optical"),
        Modality("sar", "S", 1, "float32", "dB", "sar"),
    ),
    readings=READINGS,
    needed=("rgb", "dem", "label"),
    path_of=lambda raster, tile: tile + SUFFIXES[raster],
    gaps=("sar",),
)
ADAPTER = RELEASE.adapter(plan_geonrw)
