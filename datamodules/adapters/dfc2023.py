"""DFC2023 track 2: from the files of the contest to scenes (dataset dossier, section 5).

Kept in the store: `rgb`, `dsm` (metres above ground), `sar` (linear backscatter), all three where the user keeps them,
and `label`, burnt from the outlines in the JSON. The three rasters of a tile have one name; their folders tell which.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from functools import cache, partial

from datamodules.adapters.coco_masks import Outlines, burn, read_outlines
from datamodules.adapters.dataset_card import read_about
from datamodules.adapters.isprs import SPLITS
from datamodules.ingest.plan import (
    Adapter,
    ImportOptions,
    ImportPlan,
    Missing,
    RasterJob,
    ScenePlan,
    share_out,
)
from datamodules.ingest.sources import SourceFile, SourceIndex, sizes
from datamodules.store.scene_store import PARTS, SPLIT_VALUES, Modality, SceneClass
from usererror import UserError

TILE = re.compile(r"((?:SV|GF2)_[A-Za-z]+_-?\d+\.\d+_-?\d+\.\d+)\.tiff?$", re.IGNORECASE)
EVALUATION = re.compile(
    r"P_?\d{4}\.tiff?$", re.IGNORECASE
)  # inputs of the contest's validation and test
OUTLINES = re.compile(r"buildings_only_train\.json$", re.IGNORECASE)
FOLDERS = {"rgb": "rgb", "sar": "sar", "dsm": "dsm", "ndsm": "dsm", "height": "dsm"}
TRACK_1 = re.compile(
    r"(dfc_?(23|2023)?_?)?track_?1$", re.IGNORECASE
)  # other pictures under names of track 2
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
    "neighbouring tiles overlap and a random split tears them apart: on average 81 % of the ground of a test tile "
    "has been seen in training, so scores are optimistic"
)
SHOWN = 5


class _Sorted:
    """The files of a source by what they are; those that are no training raster are counted."""

    def __init__(self, index: SourceIndex, stems: dict[str, str]) -> None:
        candidates: dict[str, list[tuple[str, SourceFile]]] = {raster: [] for raster in RASTERS}
        outlines: list[tuple[str, SourceFile]] = []
        self.ignored: Counter[str] = Counter()
        self.strangers: list[str] = []
        for file in index.files:
            kind = _kind(file)
            if kind == "json":
                outlines.append((kind, file))
            elif kind not in RASTERS:
                self.ignored[kind] += 1
            elif (match := TILE.match(file.name)) and match[1].lower() in stems:
                candidates[kind].append((stems[match[1].lower()], file))
            else:
                self.ignored["of no training tile"] += 1
                self.strangers.append(file.rel)
        del self.ignored[""]
        # one kind at a time: "the folder that holds most" is asked of each by itself
        self.rasters = {raster: index.choose(found) for raster, found in candidates.items()}
        self.outlines = index.choose(outlines).get("json")


def _kind(file: SourceFile) -> str:
    """Return json, a raster, why a file is ignored, or "" for what is no image at all.

    The nearest folder of a telling name counts, so that a source below someone's `test/` can still be imported.
    """
    folders = [re.sub(r"\.zip$", "", part.lower()) for part in file.rel.split("/")[:-1]]
    track_1 = any(TRACK_1.match(folder) for folder in folders)
    if OUTLINES.match(file.name):
        return "" if track_1 else "json"
    if not re.search(r"\.tiff?$", file.name, re.IGNORECASE):
        return ""
    if track_1:
        return "of track 1"
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


def plan_dfc2023(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Return the import plan of a source.

    Raises UserError when it has no training tiles, when a tile asked for is unknown, and for a JSON that is damaged or
    lists other images than the contest's.
    """
    table = split_table()
    about = read_about(index)
    stems = {stem.lower(): stem for stem in table}
    found = _Sorted(index, stems)
    if not any(found.rasters.values()):
        raise UserError(
            f"No training tile of DFC2023 track 2 among the {len(index.files)} files below {index.root} (names like "
            f"train/rgb/SV_Berlin_52.4902_13.5090.tif are looked for). {ADAPTER.obtain}"
        )
    tiles = _wanted(options, table, stems)
    outlines = _outlines(index, found.outlines)
    known, foreign = _by_stem(outlines, stems)
    jobs = {tile: _jobs(tile, found, known.get(tile)) for tile in tiles}
    inventory = _inventory(index, tiles, jobs, table, found, known)
    if foreign and not (options.allow_incomplete or options.tiles is not None):
        for line in inventory:
            index.say(line)
        assert found.outlines is not None
        raise UserError(
            f"{found.outlines.origin} lists {len(foreign)} image(s) that the contest does not have: {_some(foreign)}. "
            f"Use the original file, or go on without them: INCOMPLETE=1 (--allow-incomplete)."
        )
    scenes = [
        ScenePlan(
            tile,
            splits_of(table[tile]),
            jobs[tile],
            _reference(jobs[tile]),
            _attributes(table[tile]),
        )
        for tile in tiles
        if "label" in jobs[tile] and _reference(jobs[tile])
    ]
    used = {raster for scene in scenes for raster in scene.jobs}
    return ImportPlan(
        title=about.get("title", "IEEE GRSS Data Fusion Contest 2023, track 2"),
        licence=about.get(
            "licence",
            "Terms of the contest (IEEE DataPort): cite it and acknowledge the organisers",
        ),
        citation=about.get(
            "citation",
            "2023 IEEE GRSS Data Fusion Contest: large-scale fine-grained building classification for semantic urban "
            "reconstruction (IEEE DataPort); outlines: X. Huang et al., Urban Building Classification (UBC), 2022",
        ),
        classes=_classes(),
        modalities=[m for m in MODALITIES if m.name in used],
        labels=["label"],
        splits={column: _parts(table, column) for column in splits_of(table[tiles[0]])},
        scenes=scenes,
        gsd_default=GSD_M,
        attributes=["sensor", "city", "block"],
        missing=_missing(tiles, jobs, known, found),
        warnings=_warnings(found, foreign),
        inventory=inventory,
        split_notes={
            "split_random": LEAK,
            "split_sgma": f"SGMA's list is not published, this is split_random; {LEAK}",
        },
    )


@cache
def split_table() -> dict[str, dict[str, str]]:
    """Return {stem: row} of the 1773 training tiles, in the order of their names."""
    with (SPLITS / "dfc2023.csv").open(encoding="utf-8", newline="") as stream:
        return {row["stem"]: row for row in csv.DictReader(stream)}


def splits_of(row: dict[str, str]) -> dict[str, str]:
    """Return {split column: part} of a row of the split table."""
    columns = {column: value for column, value in row.items() if column.startswith("split_")}
    return {**columns, "split_sgma": row["split_random"]}


def _attributes(row: dict[str, str]) -> dict[str, str]:
    return {name: row[name] for name in ("sensor", "city", "block")}


def _parts(table: dict[str, dict[str, str]], column: str) -> tuple[str, ...]:
    return tuple(
        part for part in PARTS if any(splits_of(row)[column] == part for row in table.values())
    )


def _classes() -> list[SceneClass]:
    with (SPLITS / "classes_dfc2023.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [
        SceneClass(int(r["id"]), r["name"], (int(r["r"]), int(r["g"]), int(r["b"]))) for r in rows
    ]


def _wanted(
    options: ImportOptions, table: dict[str, dict[str, str]], stems: dict[str, str]
) -> list[str]:
    if options.tiles is None:
        return list(table)
    wanted = [re.sub(r"\.tiff?$", "", tile.strip(), flags=re.IGNORECASE) for tile in options.tiles]
    if unknown := [tile for tile in wanted if tile.lower() not in stems]:
        raise UserError(
            f"DFC2023 has no training tile {unknown[0]!r}; its {len(table)} tiles are named like {next(iter(table))}."
        )
    if not wanted:
        raise UserError("No tile is asked for: name some, or leave the choice out for all.")
    return list(dict.fromkeys(stems[tile.lower()] for tile in wanted))


def _outlines(index: SourceIndex, file: SourceFile | None) -> dict[str, Outlines]:
    if file is None:
        return {}
    index.say(f"reading {file.origin} ({file.size / 1e6:.1f} MB)")
    return read_outlines(file, index.scratch / "outlines")


def _by_stem(
    outlines: dict[str, Outlines], stems: dict[str, str]
) -> tuple[dict[str, Outlines], list[str]]:
    """Return the outlines by tile, and the names that are of none: the JSON decides what a training image is."""
    known, foreign = {}, []
    for name, of_image in outlines.items():
        stem = stems.get(re.sub(r"\.tiff?$", "", name, flags=re.IGNORECASE).lower())
        if stem is None:
            foreign.append(name)
        else:
            known[stem] = of_image
    return known, foreign


def _jobs(tile: str, found: _Sorted, outlines: Outlines | None) -> dict[str, RasterJob]:
    """Return a job for every raster of a tile; the label takes its size and georeference from the reference raster."""
    jobs = {}
    for modality in MODALITIES:
        if file := found.rasters[modality.name].get(tile):
            jobs[modality.name] = RasterJob(
                file,
                bands=tuple(range(1, modality.channels + 1)),
                dtype=modality.dtype,
                kind=modality.kind,
                file_bands=(modality.channels,),
                file_dtypes=("uint8",) if modality.dtype == "uint8" else ("float32", "float64"),
                stay=True,
            )
    if outlines is not None and (reference := _reference(jobs)):
        assert found.outlines is not None
        source = jobs[reference].source
        jobs["label"] = RasterJob(
            source,
            (1,),
            "uint8",
            "label",
            decode=partial(burn, outlines),
            whole=True,
            beside=(found.outlines,),
        )
    return jobs


def _reference(jobs: dict[str, RasterJob]) -> str:
    return next((raster for raster in RASTERS if raster in jobs), "")


def _missing(
    tiles: list[str],
    jobs: dict[str, dict[str, RasterJob]],
    known: dict[str, Outlines],
    found: _Sorted,
) -> list[Missing]:
    name = found.outlines.name if found.outlines else "buildings_only_train.json"
    missing = [
        Missing(tile, r, f"train/{r}/{tile}.tif")
        for tile in tiles
        for r in RASTERS
        if r not in jobs[tile]
    ]
    for tile in tiles:
        if tile not in known:
            missing.append(Missing(tile, "label", f"{tile}.tif in {name}" if known else name))
    return missing


def _warnings(found: _Sorted, foreign: list[str]) -> list[str]:
    warnings = []
    if found.strangers:
        warnings.append(
            f"{len(found.strangers)} file(s) are of no training tile: {_some(found.strangers)}: ignored"
        )
    if foreign:
        warnings.append(
            f"{len(foreign)} image(s) of the JSON are none of the contest's: {_some(foreign)}: ignored"
        )
    return warnings


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (
        f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    )


def _inventory(
    index: SourceIndex, tiles: list[str], jobs: dict[str, dict[str, RasterJob]], table: dict[str, dict[str, str]],
    found: _Sorted, known: dict[str, Outlines],
) -> list[str]:  # fmt: skip
    needed = (*RASTERS, "label")
    whole = [tile for tile in tiles if all(raster in jobs[tile] for raster in needed)]
    lines = [
        f"DFC2023 track 2 in {index.root}: {len(whole)} of {len(tiles)} tiles have {', '.join(needed)}"
    ]
    for raster in RASTERS:
        files = [job.source for tile in tiles if (job := jobs[tile].get(raster))]
        lines.append(
            f"  {raster}: {len(files)} files, {sum(file.size for file in files) / 1e6:.1f} MB"
        )
    buildings = sum(len(o.rings) + len(o.runs) for o in known.values())
    empty = sum(not len(o.rings) and not o.runs for o in known.values())
    where = found.outlines.origin if found.outlines else "no buildings_only_train.json"
    lines.append(
        f"  outlines: {buildings} parts in {len(known)} images, {empty} of them without any ({where})"
    )
    lines.append(
        "  sizes: " + sizes([job.source for tile in tiles if (job := jobs[tile].get("rgb"))])
    )
    if found.ignored:
        lines.append("  ignored: " + ", ".join(f"{n} {what}" for what, n in found.ignored.items()))
    for column in splits_of(table[tiles[0]]):
        counts = Counter(splits_of(table[tile])[column] for tile in whole)
        expected = Counter(splits_of(row)[column] for row in table.values())
        lines.append(
            f"  {column}: {share_out({v: counts[v] for v in SPLIT_VALUES}) or 'none'} "
            f"(whole dataset: {share_out({v: expected[v] for v in SPLIT_VALUES})})"
        )
    return lines


ADAPTER = Adapter(
    name="dfc2023",
    title="DFC2023 track 2",
    obtain=(
        "To obtain it: IEEE DataPort, 2023 IEEE GRSS Data Fusion Contest (free account), track2.zip, also inside "
        "DFC23_IEEE-DataPort.zip. Needed: buildings_only_train.json and train/rgb, train/sar, train/dsm (1773 files "
        "each). Packed or unpacked, in any folder; track 1 and the pictures without reference are ignored."
    ),
    plan=plan_dfc2023,
    modalities=MODALITIES,
    classes=_classes,
)
