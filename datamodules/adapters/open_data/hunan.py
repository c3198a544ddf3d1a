"""Hunan: land cover of a Chinese province in 2017 (dossier of open datasets, section 5).

    <root>/{train,val,test}/{s2,s1,topo,lc}/{s2,s1,topo,lc}_<tile>.tif

Kept in the store: `msi` (13 bands of Sentinel-2), `sar` (VV and VH, in decibels or linear, as all
files together say), `topo` (elevation), `topo_2` (the other band of its files, which the release
does not explain), `label` by the table of the dataset's README. The folders say which part a tile
is in.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from datamodules.adapters.open_data import planner, release
from datamodules.ingest.plan import ImportOptions, ImportPlan
from datamodules.ingest.sources import SourceFile, SourceIndex, read_pixels
from datamodules.rasters.units import SAR_LINEAR, invalid_values
from datamodules.splits.tables import read_split_table, split_columns
from datamodules.store.scene_store import PARTS, Modality
from usererror import UserError

FILE = re.compile(r"(?i)(s2|s1|topo|lc|tri)_(\d+)\.tiff?$")
CONVERTED = re.compile(r"(?i)\d+\.tiff?$")
FOLDERS = ("s2", "s1", "topo", "lc")
REMEDY = "a copy that the code of SSRS (MFNet) has converted: use the original download"
SAMPLE = 4  # every fourth row and column of a radar picture tells its unit
FEW = 0.01  # share of decibels above zero: walls of towns
CLIP_DB = ((-30.0, 0.0), (-35.0, -5.0))  # of linear VV and VH: water lies below -25 dB
MSI = Modality("msi", "M", 13, "float32", "counts", "optical")
SAR = Modality("sar", "S", 2, "float32", "dB", "sar")
LINEAR = replace(SAR, unit="linear", kind=SAR_LINEAR, clip_db=CLIP_DB)
TOPO = (
    Modality("topo", "D", 1, "float32", "m", "height_absolute"),
    Modality("topo_2", "T", 1, "float32", "unknown", "other"),
)


def file_path(raster: str, tile: str) -> str:
    """Return where the release has a raster of a published tile."""
    folder = {"msi": "s2", "sar": "s1", "label": "lc"}.get(raster, "topo")
    row = read_split_table("hunan_split").get(tile, {})
    name = f"{folder}/{folder}_{tile}.tif"
    return str(PurePosixPath(row.get("split_standard", "*"), name))


def plan_hunan(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a source; raises UserError for converted copies and unknown units."""
    for file, _ in index.match_names(CONVERTED):
        folder = planner.folders_of(file)[-1]
        if folder in FOLDERS:
            raise UserError(f"{file.origin} has no name like {folder}_<tile>: {REMEDY}.")
    parts: dict[str, tuple[str, SourceFile]] = {}
    tiles = planner.find_tiles(RELEASE, index, FILE, partial(place_file, parts))
    table = read_split_table("hunan_split")
    splits, published = {}, split_columns(table)
    for tile in tiles.files:
        listed = published.get(tile, dict.fromkeys(RELEASE.counts, "unused"))
        part = parts[tile][0] if tile in parts else listed["split_standard"]
        splits[tile] = {**listed, "split_standard": part}
    differ = [tile for tile in splits if splits[tile] != published.get(tile)]
    warnings = []
    if differ:
        names = planner.name_some(differ)
        warnings.append(f"{len(differ)} tile(s) lie in another part than published: {names}")
    radar = [files["s1"] for files in tiles.files.values() if "s1" in files]
    kind, figures = radar_unit(radar) if radar else ("sar", "")
    modalities = (MSI, SAR if kind == SAR.kind else LINEAR, *TOPO)
    own = replace(RELEASE, modalities=modalities)
    missing = planner.lacking_units(table, tiles.files, "the files of tile")
    plan = planner.plan_tiles(own, index, options, tiles, splits, None, missing, warnings)
    if radar:
        plan.inventory.append(f"  sar: taken as {modalities[1].unit} ({figures})")
    return plan


def place_file(
    parts: dict[str, tuple[str, SourceFile]], file: SourceFile, match: re.Match[str]
) -> planner.Place:
    """Return tile and kind of a file, or why it is ignored; `parts` takes part and file of tiles.

    Raises UserError for a tile that lies in two parts.
    """
    kind, tile = match[1].lower(), match[2]
    if kind == "tri":
        return "of terrain ruggedness, which only training tiles have"
    part = next((folder for folder in reversed(planner.folders_of(file)) if folder in PARTS), "")
    if part:
        first, other = parts.setdefault(tile, (part, file))
        if first != part:
            both = f"Tile {tile} lies in two parts, {other.origin} and {file.origin}"
            raise UserError(f"{both}: take the wrong one away.")
    return tile, kind


def radar_unit(files: Sequence[SourceFile]) -> tuple[str, str]:
    """Return the kind of all backscatter together, `sar` or `sar_linear`, and the figures for it.

    Raises UserError where they fit neither decibels nor linear power (section 5.4).
    """
    samples = []
    for file in files:
        sample = read_pixels(file)[:2, ::SAMPLE, ::SAMPLE].astype(np.float64)
        samples.append(sample[~invalid_values(sample, SAR_LINEAR)])
    values = np.concatenate(samples)
    if not len(values):
        return "sar", "no valid value"
    low, median, high = np.quantile(values, (0, 0.5, 1))
    figures = f"values from {low:.4g} to {high:.4g}, median {median:.4g}"
    if median < 0 and (values > 0).mean() <= FEW:
        return "sar", figures
    if low >= 0 and median < 1:
        return SAR_LINEAR, figures
    apart = [abs(np.median(sample) - median) if len(sample) else 0.0 for sample in samples]
    figures += f", farthest from it {files[int(np.argmax(apart))].origin}"
    is_neither = "is neither in decibels (below 0) nor linear (above 0, median below 1)"
    remedy = "convert all s1 files to one of these, or take them away to go on without radar"
    raise UserError(f"The radar of Hunan (s1) {is_neither}: {figures}; {remedy}.")


def find_conversion(dataset: Any) -> str:
    """Say whether a label is a copy in which SSRS's code wrote ids -1 to 6 over the raw values."""
    if dataset.dtypes[0] == "int8" or (dataset.read(1) < 0).any():
        return f"a label of type int8 or with values below 0 is {REMEDY}"
    return ""


READINGS = {
    "msi": release.Reading("s2", tuple(range(1, 14)), (13,), may_reference=True),
    "sar": release.Reading("s1", (1, 2), (2,), may_reference=True),
    "topo": release.Reading("topo", (1,), (2,), may_reference=True),
    "topo_2": release.Reading("topo", (2,), (2,)),
    "label": release.Reading("lc", (1,), (1,), vet=find_conversion),
}
RELEASE = release.Release.read(
    "hunan",
    modalities=(MSI, SAR, *TOPO),
    readings=READINGS,
    needed=("msi", "label"),
    path_of=file_path,
)
ADAPTER = RELEASE.adapter(plan_hunan)
