"""DFC2023 track 2: from the files of the contest to scenes (dataset dossier, section 5).

Kept in the store: `rgb`, `dsm` (metres above ground), `sar` (linear backscatter), all three where
the user keeps them, and `label`, drawn from the outlines in the JSON. The three rasters of a tile
have one name; their folders tell which.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import partial

from datamodules.adapters import planning
from datamodules.adapters.coco_masks import Outlines, rasterize_outlines, read_outlines
from datamodules.adapters.dataset_card import read_dataset_card
from datamodules.ingest.archives.names import without_ending
from datamodules.ingest.plan import Adapter, ImportOptions, ImportPlan, Missing, RasterJob
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.splits.tables import format_counts, list_names, read_split_table, split_columns
from datamodules.store.scene_store import Modality, SceneClass
from usererror import UserError

TIFF = re.compile(r"(?i)\.tiff?$")
TILE = re.compile(r"(?i)((?:SV|GF2)_[A-Za-z]+_-?\d+\.\d+_-?\d+\.\d+)\.tiff?$")
# inputs of the contest's validation and test
EVALUATION = re.compile(r"(?i)P_?\d{4}\.tiff?$")
OUTLINES = re.compile(r"(?i)buildings_only_train\.json$")
FOLDERS = {"rgb": "rgb", "sar": "sar", "dsm": "dsm", "ndsm": "dsm", "height": "dsm"}
# other pictures under names of track 2
TRACK_1 = re.compile(r"(?i)(dfc_?(23|2023)?_?)?track_?1$")
NO_REFERENCE = ("val", "test", "track2_test_data")
DERIVED = ("merge", "dsmnpy")
MODALITIES = (
    Modality("rgb", "R", 3, "uint8", "counts", "optical"),
    Modality("dsm", "D", 1, "float32", "m", "height_normalised"),
    Modality("sar", "S", 1, "float32", "linear", "sar_linear"),
)
RASTERS = tuple(modality.name for modality in MODALITIES)
GSD_M = 0.5
LEAK = (
    "neighbouring tiles overlap and a random split tears them apart: on average 81 % of the ground "
    "of a test tile has been seen in training, so scores are optimistic"
)
ATTRIBUTES = ("sensor", "city", "block")
LICENCE = "Terms of the contest (IEEE DataPort): cite it and acknowledge the organisers"
CITATION = (
    "2023 IEEE GRSS Data Fusion Contest: large-scale fine-grained building classification for "
    "semantic urban reconstruction (IEEE DataPort); outlines: X. Huang et al., Urban Building "
    "Classification (UBC), 2022"
)
MAX_NAMED = 5  # files in one warning
ByTile = dict[str, Outlines]


@dataclass
class Found:
    """The files of a source by what they are."""

    rasters: dict[str, dict[str, SourceFile]]  # by raster and tile
    outlines: SourceFile | None
    ignored: Counter[str]  # by the reason why they are no training rasters
    strangers: list[str]  # images of no training tile


def plan_dfc2023(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a source; raises UserError without training tiles, or for another JSON."""
    table = read_tiles()
    card = read_dataset_card(index)
    stems = {stem.lower(): stem for stem in table}
    found = sort_files(index, stems)
    if not any(found.rasters.values()):
        among = f"among the {len(index.files)} files below {index.root}"
        like = "names like train/rgb/SV_Berlin_52.4902_13.5090.tif are looked for"
        raise UserError(f"No training tile of DFC2023 track 2 {among} ({like}). {ADAPTER.obtain}")
    tiles = planning.select_tiles(options, stems, _stem_of, "DFC2023")
    outlines, foreign = _outlines_by_tile(index, found, stems)
    jobs = {tile: _tile_jobs(tile, found, outlines.get(tile)) for tile in tiles}
    splits = split_columns(table)
    inventory = _describe(index, jobs, splits, found, outlines)
    # whoever asks for single tiles, or allows gaps, wants them as they are
    if foreign and not (options.allow_incomplete or options.tiles is not None):
        for line in inventory:
            index.log(line)
        assert found.outlines is not None
        names = f"{len(foreign)} image(s) that are no tiles: {list_names(foreign, MAX_NAMED)}"
        remedy = "Use the original file, or go on without them: INCOMPLETE=1 (--allow-incomplete)"
        raise UserError(f"{found.outlines.origin} lists {names}. {remedy}.")
    attributes = {tile: {name: table[tile][name] for name in ATTRIBUTES} for tile in tiles}
    scenes = planning.plan_scenes(jobs, splits, RASTERS, "label", attributes)
    sgma_note = f"SGMA's list is not published, this is split_random; {LEAK}"
    return ImportPlan(
        **card.or_else("IEEE GRSS Data Fusion Contest 2023, track 2", LICENCE, CITATION),
        classes=dfc2023_classes(),
        modalities=planning.used_modalities(MODALITIES, scenes),
        labels=["label"],
        splits=planning.split_parts(splits),
        scenes=scenes,
        gsd_default=GSD_M,
        attributes=list(ATTRIBUTES),
        missing=_missing(jobs, found, outlines),
        warnings=_warnings(found, foreign),
        inventory=inventory,
        split_notes={"split_random": LEAK, "split_sgma": sgma_note},
    )


def read_tiles() -> dict[str, dict[str, str]]:
    """Return {stem: row} of the 1773 training tiles, in the order of their names."""
    tiles = {}
    for stem, row in read_split_table("dfc2023").items():
        tiles[stem] = row | {"split_sgma": row["split_random"]}
    return tiles


def dfc2023_classes() -> list[SceneClass]:
    """Return background and building with their colours."""
    return planning.read_classes("classes_dfc2023")


def sort_files(index: SourceIndex, stems: dict[str, str]) -> Found:
    """Sort the files of a source; `stems` is {lower-case stem: tile}."""
    candidates: dict[str, list[tuple[str, SourceFile]]] = {raster: [] for raster in RASTERS}
    outlines: list[tuple[str, SourceFile]] = []
    ignored: Counter[str] = Counter()
    strangers = []
    for file in index.files:
        kind = file_kind(file)
        if kind == "json":
            outlines.append((kind, file))
        elif kind not in RASTERS:
            ignored[kind] += 1
        elif (match := TILE.match(file.name)) and match[1].lower() in stems:
            candidates[kind].append((stems[match[1].lower()], file))
        else:
            ignored["of no training tile"] += 1
            strangers.append(file.rel)
    del ignored[""]
    # one kind at a time: "the folder that holds most" is asked of each by itself
    rasters = {raster: index.choose_copies(pairs) for raster, pairs in candidates.items()}
    return Found(rasters, index.choose_copies(outlines).get("json"), ignored, strangers)


def file_kind(file: SourceFile) -> str:
    """Return json, a raster, why a file is ignored, or "" for what is no image at all."""
    folders = [without_ending(part.lower()) for part in file.rel.split("/")[:-1]]
    track_1 = any(map(TRACK_1.match, folders))
    if OUTLINES.match(file.name):
        return "" if track_1 else "json"
    if not TIFF.search(file.name):
        return ""
    if track_1:
        return "of track 1"
    # the nearest folder counts: a source below someone's `test/` can still be imported
    for folder in reversed(folders):
        if folder in NO_REFERENCE:
            return "without reference (val, test)"
        if folder in DERIVED:
            return "derived (merge, dsmnpy)"
        if folder == "train":
            break
    if EVALUATION.match(file.name):
        return "without reference (val, test)"
    return FOLDERS.get(folders[-1] if folders else "", "in other folders")


def _stem_of(name: str) -> str:
    return TIFF.sub("", name.strip()).lower()


def _outlines_by_tile(
    index: SourceIndex, found: Found, stems: dict[str, str]
) -> tuple[ByTile, list[str]]:
    """Return the outlines by tile, and the names of images that are no tile."""
    file = found.outlines
    if file is None:
        return {}, []
    index.log(f"reading {file.origin} ({file.size / 1e6:.1f} MB)")
    known, foreign = {}, []
    for name, outlines in read_outlines(file, index.scratch / "outlines").items():
        stem = stems.get(_stem_of(name))
        if stem is None:
            foreign.append(name)
        else:
            known[stem] = outlines
    return known, foreign


def _tile_jobs(tile: str, found: Found, outlines: Outlines | None) -> dict[str, RasterJob]:
    jobs = {}
    if rgb := found.rasters["rgb"].get(tile):
        jobs["rgb"] = RasterJob.image(rgb, may_reference=True)
    for modality in MODALITIES[1:]:
        if file := found.rasters[modality.name].get(tile):
            jobs[modality.name] = RasterJob.measurement(file, modality.kind, may_reference=True)
    if outlines is not None and (reference := planning.first_present(jobs, RASTERS)):
        assert found.outlines is not None
        # the label takes its size and georeference from another raster, whatever its type
        source, decode = jobs[reference].source, partial(rasterize_outlines, outlines)
        how = {"file_dtypes": (), "needs_whole": True, "depends_on": (found.outlines,)}
        jobs["label"] = RasterJob.label(source, decode, (1,), **how)
    return jobs


def _missing(jobs: planning.Jobs, found: Found, outlines: ByTile) -> list[Missing]:
    missing = planning.missing_rasters(jobs, RASTERS, "train/{}/{}.tif".format)
    name = found.outlines.name if found.outlines else "buildings_only_train.json"
    # the JSON decides what a training image is, one without any building included
    for tile in jobs:
        if tile not in outlines:
            missing.append(Missing(tile, "label", f"{tile}.tif in {name}" if outlines else name))
    return missing


def _warnings(found: Found, foreign: list[str]) -> list[str]:
    told = {"file(s) are of no training tile": found.strangers}
    told["image(s) of the JSON are none of the contest's"] = foreign
    warnings = []
    for what, names in told.items():
        if names:
            warnings.append(f"{len(names)} {what}: {list_names(names, MAX_NAMED)}: ignored")
    return warnings


def _describe(
    index: SourceIndex, jobs: planning.Jobs, splits: planning.Splits, found: Found, outlines: ByTile
) -> list[str]:
    """Return the inventory of a source."""
    needed = (*RASTERS, "label")
    files = planning.source_files(jobs)
    for rasters in files.values():
        if "label" in rasters and found.outlines is not None:
            # read from there, whatever gives the size
            rasters["label"] = found.outlines
    what = f"DFC2023 track 2 in {index.root}"
    lines = planning.describe_source(what, "tiles", files, needed, "rgb")
    parts = empty = 0
    for of_image in outlines.values():
        number = len(of_image.rings) + len(of_image.runs)
        parts, empty = parts + number, empty + (not number)
    where = found.outlines.origin if found.outlines else "no buildings_only_train.json"
    counted = f"{parts} parts in {len(outlines)} images, {empty} of them empty"
    lines.append(f"  outlines: {counted} ({where})")
    if found.ignored:
        lines.append(f"  ignored: {format_counts(found.ignored)}")
    columns = next(iter(splits.values()))
    return lines + planning.describe_splits(columns, jobs, needed, splits)


ADAPTER = Adapter(
    name="dfc2023",
    title="DFC2023 track 2",
    obtain=(
        "To obtain it: IEEE DataPort, 2023 IEEE GRSS Data Fusion Contest (free account), "
        "track2.zip, also inside DFC23_IEEE-DataPort.zip. Needed: buildings_only_train.json and "
        "train/rgb, train/sar, train/dsm (1773 files each). Packed or unpacked, in any folder; "
        "track 1 and the pictures without reference are ignored."
    ),
    plan=plan_dfc2023,
    modalities=MODALITIES,
    classes=dfc2023_classes,
)
