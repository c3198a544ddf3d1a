"""ISPRS Vaihingen: from the files of the benchmark to scenes (dataset dossier, section 4).

Kept in the store, each if the source has it: `irrg`, `dsm`, `ndsm` (metres), `label`, `label_eroded`. An image and its
label have the same file name: the folder tells them apart, else the file of the same name elsewhere, else the pixels.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from datamodules.adapters.dataset_card import read_about
from datamodules.adapters.isprs import (
    decimetres,
    decode_label,
    inventory,
    isprs_classes,
    parts,
    split_table,
)
from datamodules.ingest.plan import (
    Adapter,
    ImportOptions,
    ImportPlan,
    Missing,
    RasterJob,
    ScenePlan,
)
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.store.raster_file import check_intact, one_line, open_raw
from datamodules.store.scene_store import Modality
from usererror import UserError

TOP = re.compile(
    r"top_mosaic_09cm_area(\d{1,2})(_noBoundary)?\.tiff?$", re.IGNORECASE
)  # image or label
DSM = re.compile(r"dsm_09cm_matching_area(\d{1,2})\.tiff?$", re.IGNORECASE)
NDSM = re.compile(
    r"(?:(?:ndsm_09cm_matching_area(\d{1,2})(?:_normali[sz]ed)?|dsm_09cm_matching_area(\d{1,2})_normali[sz]ed)"
    r"\.(?:tiff?|bmp|jpe?g|png)|dsm_09cm_matching_area(\d{1,2})\.(?:bmp|jpe?g|png))$",
    re.IGNORECASE,
)
BENCHMARK = re.compile(
    r"semantic[ _-]?labell?ing", re.IGNORECASE
)  # in the names of folders that hold the images too
ERODED_FOLDER = re.compile(r"eroded|no_?boundary", re.IGNORECASE)
LABEL_FOLDER = re.compile(
    r"^gts?([_-]|$)|ground[ _-]?truth|label|mask|^sem(antic)?$", re.IGNORECASE
)
IMAGE_FOLDER = re.compile(r"^(top|irrg|rgb)$|image", re.IGNORECASE)
NDSM_FOLDER = re.compile(r"^ndsm|normali[sz]", re.IGNORECASE)
TILE = re.compile(r"(?:area)?0?(\d{1,2})$", re.IGNORECASE)
NEAR, LABEL_SHARE = 40, 0.999  # so many of a label's values are so near to 0 or 255 (dossier 4.3)
MODALITIES = (
    Modality("irrg", "I", 3, "uint8", "counts", "optical"),
    Modality("dsm", "D", 1, "float32", "m", "height_absolute"),
    Modality("ndsm", "D", 1, "float32", "m", "height_normalised"),
)
EXPECTED = {  # raster: name of the file it needs, for the list of missing ones
    "irrg": "top/top_mosaic_09cm_{0}.tif",
    "dsm": "dsm_09cm_matching_{0}.tif",
    "ndsm": "ndsm_09cm_matching_{0}.bmp",
    "label": "top_mosaic_09cm_{0}.tif of the complete ground truth",
    "label_eroded": "top_mosaic_09cm_{0}_noBoundary.tif",
}
GSD_M = 0.09
Files = dict[tuple[str, str], SourceFile]


def plan_vaihingen(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Return the import plan of a source; raises UserError when it has no Vaihingen files, or for unknown tiles."""
    splits = split_table("vaihingen.csv")
    about = read_about(index)
    tiles = _wanted(options, list(splits))
    if not any(index.matches(pattern) for pattern in (TOP, DSM, NDSM)):
        raise UserError(
            f"No file of Vaihingen among the {len(index.files)} below {index.root} (names like "
            f"top_mosaic_09cm_area1.tif are looked for). {ADAPTER.obtain}"
        )
    files = _find(index, set(tiles))
    jobs = {tile: _jobs(tile, files) for tile in tiles}
    have = Counter(raster for rasters in jobs.values() for raster in rasters)
    height = "ndsm" if have["ndsm"] > have["dsm"] else "dsm"
    label = "label_eroded" if have["label_eroded"] > have["label"] else "label"
    # whatever some tiles have, all should have: a gap is said, not skipped
    required = tuple(
        raster for raster in EXPECTED if have[raster] or raster in ("irrg", height, label)
    )
    missing = [
        Missing(tile, raster, EXPECTED[raster].format(tile))
        for tile in tiles
        for raster in required
        if raster not in jobs[tile]
    ]
    scenes = [
        ScenePlan(tile, splits[tile], jobs[tile], _reference(jobs[tile]))
        for tile in tiles
        if label in jobs[tile] and _reference(jobs[tile])
    ]
    used = {raster for scene in scenes for raster in scene.jobs}
    plan = ImportPlan(
        title=about.get("title", "ISPRS Vaihingen"),
        licence=about.get(
            "licence", "Research use only; no passing on to third parties (ISPRS, DGPF)"
        ),
        citation=about.get(
            "citation",
            "ISPRS 2D Semantic Labeling Contest - Vaihingen, ISPRS Working Group II/4; M. Cramer, The DGPF test on "
            "digital aerial camera evaluation, PFG 2010 (data: German Society for Photogrammetry, Remote Sensing and "
            "Geoinformation, DGPF); normalised heights: M. Gerke",
        ),
        classes=isprs_classes(),
        modalities=[m for m in MODALITIES if m.name in used],
        labels=[name for name in dict.fromkeys((label, "label", "label_eroded")) if name in used],
        splits={column: parts(splits, column) for column in splits[tiles[0]]},
        scenes=scenes,
        gsd_m=about.get("gsd_m"),  # the files have no georeference
        gsd_default=GSD_M,
        missing=missing,
    )
    plan.warnings = _strangers(index, splits)
    plan.inventory = inventory("ISPRS Vaihingen", index, jobs, required, splits, "irrg")
    return plan


def _wanted(options: ImportOptions, known: list[str]) -> list[str]:
    if options.tiles is None:
        return known
    wanted = [
        f"area{int(match[1])}" if (match := TILE.match(text)) else text for text in options.tiles
    ]
    if unknown := [
        text for text, tile in zip(options.tiles, wanted, strict=True) if tile not in known
    ]:
        raise UserError(f"Vaihingen has no tile {unknown[0]!r}; it has: {', '.join(known)}.")
    if not wanted:
        raise UserError("No tile is asked for: name some, or leave the choice out for all.")
    return list(dict.fromkeys(wanted))


def _area(match: re.Match[str]) -> str:
    """Return the tile id of a file name; `NDSM` has three groups, of which one is set."""
    return f"area{int(next(text for text in match.groups() if text and text.isdigit()))}"


def _find(index: SourceIndex, tiles: set[str]) -> Files:
    """Return one file per (tile, raster)."""
    candidates: dict[str, list[tuple[tuple[str, str], SourceFile]]] = defaultdict(list)
    named: dict[str, list[SourceFile]] = defaultdict(list)
    for file, match in index.matches(TOP):
        if match[2]:
            candidates["label_eroded"].append(((_area(match), "label_eroded"), file))
        else:
            named[_area(match)].append(file)
    for tile in tiles & named.keys():
        for file, role in roles(named[tile]).items():
            candidates[role].append(((tile, role), file))
    for file, match in index.matches(DSM):
        # a normalised model may have the plain name, in a folder that says what it is
        raster = (
            "ndsm"
            if NDSM_FOLDER.search(file.rel.split("/")[-2] if "/" in file.rel else "")
            else "dsm"
        )
        candidates[raster].append(((_area(match), raster), file))
    for file, match in index.matches(NDSM):
        candidates["ndsm"].append(((_area(match), "ndsm"), file))
    found: Files = {}
    for (
        pairs
    ) in candidates.values():  # "the folder that holds most" is asked of each raster by itself
        found |= index.choose(sorted(pairs, key=lambda pair: pair[1].rel))
    return {key: file for key, file in found.items() if key[0] in tiles}


def roles(files: list[SourceFile]) -> dict[SourceFile, str]:
    """Tell which of the files of one tile that have one name is irrg, label or label_eroded (dossier 4.3).

    The nearest folder whose name decides comes first. A single file left over takes the role that the decided ones do
    not have; several, and what would become an image, are judged by their pixels.
    """
    known = {file: role for file in files if (role := folder_role(file.folder))}
    undecided = [file for file in files if file not in known]
    others = set(known.values()) - {"label_eroded"}
    for file in undecided:
        is_label = (len(undecided) == 1 and others == {"irrg"}) or looks_like_label(file)
        known[file] = "label" if is_label else "irrg"
    return known


def folder_role(folder: str) -> str:
    """Return irrg, label or label_eroded for a path of folders below the source, "" when none of them decides."""
    for name in reversed(folder.split("/")):
        name = BENCHMARK.sub("", re.sub(r"\.zip$", "", name, flags=re.IGNORECASE))
        if ERODED_FOLDER.search(name):
            return "label_eroded"
        if LABEL_FOLDER.search(name):
            return "label"
        if IMAGE_FOLDER.search(name):
            return "irrg"
    return ""


def looks_like_label(file: SourceFile) -> bool:
    """Tell by its pixels whether a raster is a label: nearly all values are near 0 or 255, or it has one band only.

    Raises UserError when the file cannot be read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = file.extract(Path(scratch))
        check_intact(path, file.origin)
        with open_raw(path, file.origin) as dataset:
            if dataset.count < 3:
                return True
            try:
                values = dataset.read([1, 2, 3])
            except (MemoryError, ValueError) as error:
                raise UserError(f"{file.origin} cannot be read ({one_line(error)}).") from error
    near = (values <= NEAR) | (values >= 255 - NEAR)
    return float(np.mean(near)) >= LABEL_SHARE


def _jobs(tile: str, files: Files) -> dict[str, RasterJob]:
    """Return a job for every raster that the files of a tile can give."""
    jobs = {}
    if irrg := files.get((tile, "irrg")):
        jobs["irrg"] = RasterJob(irrg, (1, 2, 3), "uint8", "optical", (3,), ("uint8",))
    if dsm := files.get((tile, "dsm")):
        jobs["dsm"] = RasterJob(
            dsm, (1,), "float32", "height_absolute", (1,), ("float32", "float64")
        )
    if ndsm := files.get((tile, "ndsm")):
        # a picture may open with one band or with three equal ones
        jobs["ndsm"] = RasterJob(
            ndsm, (1,), "float32", "height_normalised", (1, 3), ("uint8",), decimetres
        )
    for name in ("label", "label_eroded"):
        if file := files.get((tile, name)):
            jobs[name] = RasterJob(
                file, (1, 2, 3), "uint8", "label", (3, 4), ("uint8",), decode_label
            )
    return jobs


def _reference(jobs: dict[str, RasterJob]) -> str:
    """Return the raster that says the size of the scene: the optical one if there is one; "" without any modality."""
    return next((name for name in ("irrg", "dsm", "ndsm") if name in jobs), "")


def _strangers(index: SourceIndex, splits: dict[str, dict[str, str]]) -> list[str]:
    """Name files of no tile; the eroded labels are distributed with one of an `area9` that has no image."""
    found = [pair for pattern in (TOP, DSM, NDSM) for pair in index.matches(pattern)]
    return [
        f"{file.rel} is of no tile of the benchmark: ignored"
        for file, m in found
        if _area(m) not in splits
    ]


ADAPTER = Adapter(
    name="vaihingen",
    title="ISPRS Vaihingen",
    obtain=(
        "To obtain it: ISPRS, 2D Semantic Labeling Contest - Vaihingen (isprs.org, Benchmarks, UrbanSemLab); the page "
        "gives a share link and its password. Needed from Vaihingen.zip: ISPRS_semantic_labeling_Vaihingen and "
        "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE; useful: ..._ground_truth_eroded_COMPLETE. Packed or "
        "unpacked, each archive in a folder of its own: images and labels have the same file names."
    ),
    plan=plan_vaihingen,
    modalities=MODALITIES,
    classes=isprs_classes,
)
