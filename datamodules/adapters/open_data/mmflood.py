"""MMFlood: floods of 95 events in radar, heights and permanent water (open datasets, section 6).

    <root>/activations.json
    <root>/activations/<EVENT>-<n>/{s1_raw,DEM,hydro,mask}/<EVENT>-<n>-<k>.tif

The folder tells what a file shows, since names repeat. Kept in the store: `sar` (VV and VH as
linear power), `dem`, `hydro` (1 where OpenStreetMap has water), `label`, which is 255 wherever the
radar holds no value, for every subset alike. `hydro` is missing for whole areas of the release: a
gap, not zeros.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from datamodules.adapters.open_data import release
from datamodules.ingest.plan import ImportOptions, ImportPlan, RasterJob
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.splits.tables import format_counts, list_names, read_split_table
from datamodules.store.scene_store import PARTS, Modality
from usererror import UserError

FILE = re.compile(r"(?i)(emsr\d+)-\d+-\d+\.tiff?$")
KINDS = {"s1_raw": "sar", "dem": "dem", "hydro": "hydro", "mask": "label"}  # by folder
FOLDERS = {"sar": "s1_raw", "dem": "DEM", "hydro": "hydro", "label": "mask"}
EVENTS_FILE = "activations.json"
SPLIT = "split_standard"
# water lies below -25 dB in VH
CLIP_DB = ((-30.0, 0.0), (-35.0, -5.0))


def file_path(raster: str, tile: str) -> str:
    """Return where the release has a raster of a tile."""
    name = tile.split("/")[-1]
    return f"activations/{name.rpartition('-')[0]}/{FOLDERS[raster]}/{name}.tif"


RELEASE = release.Release(
    name="mmflood",
    title="MMFlood",
    obtain=(
        "To obtain it: Zenodo record 6534637 or links-ads/mmflood on Hugging Face, without "
        "registration. Needed: activations.json and the folder activations (1748 tiles, 1012 of "
        "them with hydro). Packed or unpacked, in any folder."
    ),
    licence="MIT",
    citation=(
        "MMFlood: A Multimodal Dataset for Flood Delineation from Satellite Imagery, IEEE Access, "
        "2022, doi 10.1109/ACCESS.2022.3205419. Sources: Copernicus EMS, Copernicus Sentinel-1, "
        "MapZen/Tilezen, OpenStreetMap"
    ),
    gsd_m=10.0,  # the files count in degrees
    like="activations/EMSR548-0/s1_raw/EMSR548-0-0.tif",
    modalities=(
        Modality("sar", "S", 2, "float32", "linear", "sar_linear", CLIP_DB),
        Modality("dem", "D", 1, "float32", "m", "height_absolute"),
        Modality("hydro", "H", 1, "uint8", "water", "other"),
    ),
    needed=("sar", "dem", "label"),
    gaps=("hydro",),
    path_of=file_path,
    split_notes={
        SPLIT: "parts are events: nine countries have events in several parts, so a valley may be "
        "in two of them, at different dates"
    },
)


def plan_mmflood(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a source; raises UserError without tiles and for a damaged event list."""
    tiles = release.find_tiles(RELEASE, index, place_file)
    table = read_split_table("mmflood_split")
    parts, warnings = read_parts(index, table)
    events = {tile: tile.split("/")[0] for tile in tiles.files}
    splits = {tile: {SPLIT: parts.get(event, "unused")} for tile, event in events.items()}
    if unlisted := sorted(set(events.values()) - set(parts)):
        names = list_names(unlisted, release.MAX_NAMED)
        warnings.append(f"{len(unlisted)} event(s) are in no part and stay unused: {names}")
    told = {}
    for tile, event in events.items():
        told[tile] = {"event": event, "country": table.get(event, {}).get("country", "")}
    missing = release.lacking_units(table, events.values(), "the folders of event")
    known = splits, told, missing, warnings
    plan = release.plan_tiles(RELEASE, index, options, tiles, raster_jobs, *known)
    here = Counter(parts.get(event, "unused") for event in set(events.values()))
    whole = Counter(row[SPLIT] for row in table.values())
    counts = [format_counts({part: count[part] for part in PARTS}) for count in (here, whole)]
    of = f"whole release: {counts[1]}; 1748 tiles, 1012 with hydro"
    plan.inventory.append(f"  events: {counts[0]} ({of})")
    return plan


def place_file(file: SourceFile) -> release.Place:
    """Return tile (`EVENT/name`) and raster of a file, or why it is ignored."""
    match = FILE.match(file.name)
    if match is None:
        return ""
    folders = release.folders_of(file)
    kind = KINDS.get(folders[-1].lower() if folders else "")
    if kind is None:
        return "in other folders"
    return f"{match[1].upper()}/{file.name.rpartition('.')[0].upper()}", kind


def read_parts(
    index: SourceIndex, table: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, str], list[str]]:
    """Return the part of every event, and a warning for those that the source has elsewhere.

    The source's activations.json wins over the packaged list. UserError where it is none.
    """
    parts = {event: row[SPLIT] for event, row in table.items()}
    found = [file for file in index.files if file.name.lower() == EVENTS_FILE]
    if not found:
        return parts, []
    file = min(found, key=lambda file: len(file.rel))
    own = {}
    try:
        for event, told in json.loads(file.read_bytes()).items():
            own[event.upper()] = told["subset"]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        broken = f"{file.origin} is no list of events with their subset ({type(error).__name__})"
        raise UserError(f"{broken}: replace it by the one of the release.") from error
    if strange := [event for event, part in own.items() if part not in PARTS]:
        values = ", ".join(PARTS)
        raise UserError(f"{file.origin}: the subset of {strange[0]} is none of {values}.")
    differ = [event for event in own if own[event] != parts.get(event)]
    parts |= own
    if not differ:
        return parts, []
    names = list_names(differ, release.MAX_NAMED)
    return parts, [f"{file.rel} has {len(differ)} event(s) in another part than published: {names}"]


def raster_jobs(tile: str, files: release.Files) -> dict[str, RasterJob]:
    """Return a job for every raster of a tile."""
    jobs = {}
    sar = files.get("sar")
    if sar:
        form: dict[str, Any] = {"file_dtypes": ("float32",), "may_reference": True}
        jobs["sar"] = RasterJob(sar, (1, 2), "float32", "sar_linear", file_bands=(2,), **form)
    if dem := files.get("dem"):
        jobs["dem"] = RasterJob.measurement(dem, "height_absolute", may_reference=True)
    if hydro := files.get("hydro"):
        jobs["hydro"] = RasterJob.image(hydro, (1,), (1,), kind="other", may_reference=True)
    if label := files.get("label"):
        jobs["label"] = RELEASE.label_job(label, valid_where=sar)
    return jobs


ADAPTER = RELEASE.adapter(plan_mmflood)
