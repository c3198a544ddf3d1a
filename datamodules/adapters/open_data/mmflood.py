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

from datamodules.adapters.open_data import planner, release
from datamodules.ingest.plan import ImportOptions, ImportPlan
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.splits.tables import format_counts, read_split_table
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


def plan_mmflood(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a source; raises UserError without tiles and for a damaged event list."""
    tiles = planner.find_tiles(RELEASE, index, FILE, place_file)
    table = read_split_table("mmflood_split")
    parts, warnings = read_parts(index, table)
    events = {tile: tile.split("/")[0] for tile in tiles.files}
    splits = {tile: {SPLIT: parts.get(event, "unused")} for tile, event in events.items()}
    if unlisted := sorted(set(events.values()) - set(parts)):
        names = planner.name_some(unlisted)
        warnings.append(f"{len(unlisted)} event(s) are in no part and stay unused: {names}")
    told = {}
    for tile, event in events.items():
        told[tile] = {"event": event, "country": table.get(event, {}).get("country", "")}
    missing = planner.lacking_units(table, events.values(), "the folders of event")
    plan = planner.plan_tiles(RELEASE, index, options, tiles, splits, told, missing, warnings)
    here = Counter(parts.get(event, "unused") for event in set(events.values()))
    whole = Counter(row[SPLIT] for row in table.values())
    counts = [format_counts({part: count[part] for part in PARTS}) for count in (here, whole)]
    of = f"whole release: {counts[1]}; 1748 tiles, 1012 with hydro"
    plan.inventory.append(f"  events: {counts[0]} ({of})")
    return plan


def place_file(file: SourceFile, match: re.Match[str]) -> planner.Place:
    """Return tile (`EVENT/name`) and raster of a file, or why it is ignored."""
    kind = KINDS.get(planner.folders_of(file)[-1])
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
    names = planner.name_some(differ)
    return parts, [f"{file.rel} has {len(differ)} event(s) in another part than published: {names}"]


READINGS = {
    "sar": release.Reading("sar", (1, 2), (2,), release.FLOAT, may_reference=True),
    "dem": release.Reading("dem", (1,), (1,), ("float32", "float64"), may_reference=True),
    "hydro": release.Reading("hydro", (1,), (1,), release.BYTES, may_reference=True),
    "label": release.Reading("label", (1,), (1,), release.BYTES, valid_where="sar"),
}
RELEASE = release.Release.read(
    "mmflood",
    modalities=(
        Modality("sar", "S", 2, "float32", "linear", "sar_linear", CLIP_DB),
        Modality("dem", "D", 1, "float32", "m", "height_absolute"),
        Modality("hydro", "H", 1, "uint8", "water", "other"),
    ),
    readings=READINGS,
    needed=("sar", "dem", "label"),
    gaps=("hydro",),
    path_of=file_path,
)
ADAPTER = RELEASE.adapter(plan_mmflood)
