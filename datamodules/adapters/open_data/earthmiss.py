"""EarthMiss: optical and radar pictures of 13 cities (dossier of open datasets, section 3).

    <root>/<City>/images/RGB/<tile>.tif    <City>/images/SAR/<tile>.tif    <City>/masks/<tile>.tif

The folder tells what a file shows, since names repeat; the released code expects `_SAR` and `_mask`
behind the names, which is read as well. Kept in the store: `rgb` (float32, about 0 to 255), `sar`
(float32, counts that are neither decibels nor linear), `label`. Whatever the release says is
kept as it is: nothing is clipped or rounded.
"""

import re
from collections.abc import Mapping
from functools import partial

from datamodules.adapters.open_data import planner, release
from datamodules.ingest.plan import ImportOptions, ImportPlan
from datamodules.ingest.sources import SourceFile, SourceIndex, read_raster_header
from datamodules.splits.tables import read_split_table, split_columns
from datamodules.store.scene_store import Modality
from usererror import UserError

FILE = re.compile(r"(?i)(.+?)( ?\(\d+\))?\.(tiff?|png)$")
COPY = re.compile(r"\(\d+\)\.\w+$")  # as a browser names a second download
KINDS = {"rgb": "rgb", "sar": "sar", "masks": "label"}  # by folder
SUFFIX = {"rgb": "", "sar": "_SAR", "label": "_mask"}
PATHS = {"rgb": "images/RGB", "sar": "images/SAR", "label": "masks"}
Pair = tuple[SourceFile, SourceFile]
# a copy in bytes has lost the values above 255
READINGS = {
    "rgb": release.Reading("rgb", (1, 2, 3), (3,), release.FLOAT, may_reference=True),
    "sar": release.Reading("sar", (1,), (1, 3), release.FLOAT, may_reference=True),
    "label": release.Reading("label", (1,), (1,), release.BYTES),
}
RELEASE = release.Release.read(
    "earthmiss",
    modalities=(
        Modality("rgb", "R", 3, "float32", "counts", "optical"),
        Modality("sar", "S", 1, "float32", "counts", "other"),
    ),
    readings=READINGS,
    needed=("rgb", "sar", "label"),
    path_of=lambda raster, tile: tile.replace("/", f"/{PATHS[raster]}/") + ".tif",
)


def plan_earthmiss(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a source; raises UserError without tiles, or for two files of one tile."""
    cities = read_split_table("earthmiss_split")
    known = {city.lower(): city for city in cities}
    second: list[Pair] = []
    tiles = planner.find_tiles(RELEASE, index, FILE, partial(place_file, index, known, second))
    warnings = _compare_pairs(second)
    first = next((files["sar"] for files in tiles.files.values() if "sar" in files), None)
    if first is not None and read_raster_header(first)[0] == 3:
        warnings.append(f"{first.origin} has three bands: the first of them is used")
    columns = split_columns(cities)
    splits = {tile: columns[tile.split("/")[0]] for tile in tiles.files}
    told = {tile: {"city": tile.split("/")[0]} for tile in tiles.files}
    missing = planner.lacking_units(cities, (row["city"] for row in told.values()), "the folder")
    return planner.plan_tiles(RELEASE, index, options, tiles, splits, told, missing, warnings)


def place_file(
    index: SourceIndex,
    cities: Mapping[str, str],
    second: list[Pair],
    file: SourceFile,
    match: re.Match[str],
) -> planner.Place:
    """Return tile (`City/name`) and raster of a file, or why it is ignored.

    `second` takes the files of a tile that is there under its plain name too, with that one.
    """
    folders = planner.folders_of(file)
    kind = KINDS.get(folders[-1])
    city = next((cities[folder] for folder in reversed(folders) if folder in cities), None)
    if kind is None or city is None:
        # `RGB_512` and the like are the authors' own pieces of the same pictures
        return "in other folders"
    name = re.sub(f"(?i){SUFFIX[kind]}$", "", match[1])
    plain = index.file_at(f"{file.folder}/{name}.{match[3]}")
    if plain not in (None, file):
        second.append((file, plain))
        return "second files of a tile"
    return f"{city}/{name}", kind


def _compare_pairs(second: list[Pair]) -> list[str]:
    """Say which browser's copies `(1)` are none; raises UserError where two names are two files."""
    different = [(file, plain) for file, plain in second if file.read_bytes() != plain.read_bytes()]
    for file, plain in different:
        if not COPY.search(file.name):
            both = f"{file.origin} and {plain.origin} are two different files of one tile"
            raise UserError(f"{both}: take the wrong one away.")
    if not different:
        return []
    names = planner.name_some([file.rel for file, _ in different])
    return [f"{len(different)} second files differ from the first, which is used: {names}"]


ADAPTER = RELEASE.adapter(plan_earthmiss)
