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

from datamodules.adapters.open_data import release
from datamodules.ingest.plan import ImportOptions, ImportPlan, RasterJob
from datamodules.ingest.sources import SourceFile, SourceIndex, read_pixels
from datamodules.rasters.units import SAR_LINEAR, invalid_values
from datamodules.splits.tables import list_names, read_split_table, split_columns
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


RELEASE = release.Release(
    name="hunan",
    title="Hunan",
    obtain=(
        "To obtain it: the file on Google Drive that github.com/LauraChow/HunanMultimodalDataset "
        "links to. Needed: the folders train, val and test, each with s2, s1, topo and lc (500 "
        "tiles). Packed or unpacked, in any folder."
    ),
    licence="None stated: for your own use",
    citation=(
        "DKDFN: Domain Knowledge-Guided Deep Collaborative Fusion Network for Multimodal Remote "
        "Sensing Yearly Composite Land Cover Classification, ISPRS Journal of Photogrammetry and "
        "Remote Sensing, 2022"
    ),
    gsd_m=10.0,
    like="train/s2/s2_2604.tif",
    modalities=(MSI, SAR, *TOPO),
    needed=("msi", "label"),
    path_of=file_path,
    counts={
        "split_standard": {"train": 400, "val": 50, "test": 50},
        "split_mfnet": {"train": 450, "test": 50},
        "split_evsr": {"train": 400, "test": 100},
    },
    split_notes={
        "split_standard": "neighbouring tiles lie in different parts: 13 of 50 test and 8 of 50 "
        "val tiles are beside a training tile, as far as their numbers tell",
        "split_mfnet": "MFNet chooses its checkpoint on the test tiles, and 13 of 50 are beside "
        "a training tile, as far as their numbers tell",
        "split_evsr": "21 of 100 test tiles are beside a training tile, as far as their numbers "
        "tell",
    },
)


def plan_hunan(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a source; raises UserError for converted copies and unknown units."""
    parts: dict[str, tuple[str, SourceFile]] = {}
    tiles = release.find_tiles(RELEASE, index, partial(place_file, parts))
    table = read_split_table("hunan_split")
    splits, published = {}, split_columns(table)
    for tile in tiles.files:
        listed = published.get(tile, dict.fromkeys(RELEASE.counts, "unused"))
        part = parts[tile][0] if tile in parts else listed["split_standard"]
        splits[tile] = {**listed, "split_standard": part}
    differ = [tile for tile in splits if splits[tile] != published.get(tile)]
    warnings = []
    if differ:
        names = list_names(differ, release.MAX_NAMED)
        warnings.append(f"{len(differ)} tile(s) lie in another part than published: {names}")
    radar = [files["s1"] for files in tiles.files.values() if "s1" in files]
    kind, figures = radar_unit(radar) if radar else ("sar", "")
    modalities = (MSI, SAR if kind == SAR.kind else LINEAR, *TOPO)
    own = replace(RELEASE, modalities=modalities)
    missing = release.lacking_units(table, tiles.files, "the files of tile")
    jobs = partial(raster_jobs, radar=kind)
    plan = release.plan_tiles(own, index, options, tiles, jobs, splits, None, missing, warnings)
    if radar:
        plan.inventory.append(f"  sar: taken as {modalities[1].unit} ({figures})")
    return plan


def place_file(parts: dict[str, tuple[str, SourceFile]], file: SourceFile) -> release.Place:
    """Return tile and kind of a file, or why it is ignored; `parts` takes part and file of tiles.

    Raises UserError for names of a converted copy, and for a tile that lies in two parts.
    """
    folders = [folder.lower() for folder in release.folders_of(file)]
    match = FILE.match(file.name)
    if match is None:
        if CONVERTED.match(file.name) and folders and folders[-1] in FOLDERS:
            raise UserError(f"{file.origin} has no name like {folders[-1]}_<tile>: {REMEDY}.")
        return ""
    kind, tile = match[1].lower(), match[2]
    if kind == "tri":
        return "of terrain ruggedness, which only training tiles have"
    part = next((folder for folder in reversed(folders) if folder in PARTS), "")
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


def raster_jobs(tile: str, files: release.Files, radar: str) -> dict[str, RasterJob]:
    """Return a job for every raster of a tile; `radar` is the kind of backscatter."""
    jobs = {}
    if s2 := files.get("s2"):
        bands = tuple(range(1, 14))
        jobs["msi"] = RasterJob(s2, bands, "float32", "optical", (13,), may_reference=True)
    if s1 := files.get("s1"):
        jobs["sar"] = RasterJob(s1, (1, 2), "float32", radar, (2,), may_reference=True)
    if topo := files.get("topo"):
        jobs["topo"] = RasterJob(topo, (1,), "float32", "height_absolute", (2,), may_reference=True)
        jobs["topo_2"] = RasterJob(topo, (2,), "float32", "other", (2,))
    if lc := files.get("lc"):
        jobs["label"] = RELEASE.label_job(lc, file_dtypes=(), vet=find_conversion)
    return jobs


def find_conversion(dataset: Any) -> str:
    """Say whether a label is a copy in which SSRS's code wrote ids -1 to 6 over the raw values."""
    if dataset.dtypes[0] == "int8" or (dataset.read(1) < 0).any():
        return f"a label of type int8 or with values below 0 is {REMEDY}"
    return ""


ADAPTER = RELEASE.adapter(plan_hunan)
