"""ISPRS Vaihingen: from the files of the benchmark to scenes (dataset dossier, section 4).

Kept in the store, each if the source has it: `irrg`, `dsm`, `ndsm` (metres), `label`,
`label_eroded`. An image and its label have the same file name: the folder tells them apart, else
the file of the same name elsewhere, else the pixels.
"""

import re
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from datamodules.adapters.isprs import Files, IsprsCity, label_jobs
from datamodules.ingest.archives.names import without_ending
from datamodules.ingest.plan import RasterJob
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.rasters.raster_file import check_intact, one_line, open_raw
from datamodules.store.scene_store import Modality
from usererror import UserError

# an image or a label
TOP = re.compile(r"(?i)top_mosaic_09cm_area(\d{1,2})(_noBoundary)?\.tiff?$")
DSM = re.compile(r"(?i)dsm_09cm_matching_area(\d{1,2})\.tiff?$")
NDSM = re.compile(
    r"(?i)(?:(?:ndsm_09cm_matching_area(\d{1,2})(?:_normali[sz]ed)?"
    r"|dsm_09cm_matching_area(\d{1,2})_normali[sz]ed)\.(?:tiff?|bmp|jpe?g|png)"
    r"|dsm_09cm_matching_area(\d{1,2})\.(?:bmp|jpe?g|png))$"
)
# in the names of folders that hold the images too
BENCHMARK = re.compile(r"(?i)semantic[ _-]?labell?ing")
ERODED_FOLDER = re.compile(r"(?i)eroded|no_?boundary")
LABEL_FOLDER = re.compile(r"(?i)^gts?([_-]|$)|ground[ _-]?truth|label|mask|^sem(antic)?$")
IMAGE_FOLDER = re.compile(r"(?i)^(top|irrg|rgb)$|image")
NDSM_FOLDER = re.compile(r"(?i)^ndsm|normali[sz]")
TILE = re.compile(r"(?i)(?:area)?0?(\d{1,2})$")
SIZE_TOLERANCE = 2  # pixels by which heights and image of an area differ (dossier, rule 3)
NEAR, LABEL_SHARE = 40, 0.999  # so many of a label's values are so near to 0 or 255 (dossier 4.3)


def tile_of(match: re.Match[str]) -> str:
    """Return the tile of a file name; `NDSM` has three groups, of which one is set."""
    return f"area{int(next(text for text in match.groups() if text and text.isdigit()))}"


def normalise_tile(text: str) -> str:
    """Return the name of a tile that is given as `area7`, `07` or `7`."""
    match = TILE.match(text)
    return f"area{int(match[1])}" if match else text


def find_files(index: SourceIndex, tiles: set[str]) -> Files:
    """Return one file per tile and raster."""
    candidates: dict[str, list[tuple[tuple[str, str], SourceFile]]] = defaultdict(list)
    named: dict[str, list[SourceFile]] = defaultdict(list)
    for file, match in index.match_names(TOP):
        tile = tile_of(match)
        if match[2]:
            candidates["label_eroded"].append(((tile, "label_eroded"), file))
        else:
            named[tile].append(file)
    # only of the tiles asked for, because telling image from label may mean reading pixels
    for tile in tiles & named.keys():
        for file, raster in sort_images_and_labels(named[tile]).items():
            candidates[raster].append(((tile, raster), file))
    for file, match in index.match_names(DSM):
        # a normalised model may have the plain name, in a folder that says what it is
        folder = file.folder.rpartition("/")[2]
        raster = "ndsm" if NDSM_FOLDER.search(folder) else "dsm"
        candidates[raster].append(((tile_of(match), raster), file))
    for file, match in index.match_names(NDSM):
        candidates["ndsm"].append(((tile_of(match), "ndsm"), file))
    found: Files = {}
    # one raster at a time: "the folder that holds most" is asked of each by itself
    for pairs in candidates.values():
        found |= index.choose_copies(sorted(pairs, key=lambda pair: pair[1].rel))
    return {key: file for key, file in found.items() if key[0] in tiles}


def sort_images_and_labels(files: list[SourceFile]) -> dict[SourceFile, str]:
    """Tell which files of one tile and one name are irrg, label or label_eroded (dossier 4.3).

    The nearest folder whose name decides comes first. A single file left over takes the role that
    the decided ones do not have; several are judged by their pixels.
    """
    known = {}
    for file in files:
        if role := folder_role(file.folder):
            known[file] = role
    undecided = [file for file in files if file not in known]
    others = set(known.values()) - {"label_eroded"}
    for file in undecided:
        beside_image = len(undecided) == 1 and others == {"irrg"}
        known[file] = "label" if beside_image or looks_like_label(file) else "irrg"
    return known


def folder_role(folder: str) -> str:
    """Return irrg, label or label_eroded for a path of folders, "" when none of them decides.

    Example:
        >>> folder_role("Vaihingen/gts_eroded"), folder_role("top"), folder_role("data")
        ('label_eroded', 'irrg', '')
    """
    # the nearest folder knows best
    for name in reversed(folder.split("/")):
        name = BENCHMARK.sub("", without_ending(name))
        if ERODED_FOLDER.search(name):
            return "label_eroded"
        if LABEL_FOLDER.search(name):
            return "label"
        if IMAGE_FOLDER.search(name):
            return "irrg"
    return ""


def looks_like_label(file: SourceFile) -> bool:
    """Tell by its pixels whether a raster is a label: values near 0 or 255, or one band only."""
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
    # labels have the corners of the colour cube, images everything between
    near = (values <= NEAR) | (values >= 255 - NEAR)
    return float(np.mean(near)) >= LABEL_SHARE


def raster_jobs(tile: str, files: Files) -> dict[str, RasterJob]:
    """Return a job for every raster that the files of a tile can give."""
    jobs = {}
    if irrg := files.get((tile, "irrg")):
        jobs["irrg"] = RasterJob.image(irrg)
    if dsm := files.get((tile, "dsm")):
        jobs["dsm"] = RasterJob.measurement(dsm, "height_absolute")
    if ndsm := files.get((tile, "ndsm")):
        jobs["ndsm"] = RasterJob.height_decimetres(ndsm)
    jobs |= label_jobs(tile, files)
    return {raster: replace(job, size_tolerance=SIZE_TOLERANCE) for raster, job in jobs.items()}


ADAPTER = IsprsCity(
    name="vaihingen",
    obtain=(
        "To obtain it: ISPRS, 2D Semantic Labeling Contest - Vaihingen (isprs.org, Benchmarks, "
        "UrbanSemLab); the page gives a share link and its password. Needed from Vaihingen.zip: "
        "ISPRS_semantic_labeling_Vaihingen and "
        "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE; useful: "
        "..._ground_truth_eroded_COMPLETE. Packed or unpacked, each archive in a folder of its "
        "own: images and labels have the same file names."
    ),
    licence="Research use only; no passing on to third parties (ISPRS, DGPF)",
    citation=(
        "ISPRS 2D Semantic Labeling Contest - Vaihingen, ISPRS Working Group II/4; M. Cramer, The "
        "DGPF test on digital aerial camera evaluation, PFG 2010 (data: German Society for "
        "Photogrammetry, Remote Sensing and Geoinformation, DGPF); normalised heights: M. Gerke"
    ),
    gsd_m=0.09,  # the files have no georeference
    modalities=(
        Modality("irrg", "I", 3, "uint8", "counts", "optical"),
        Modality("dsm", "D", 1, "float32", "m", "height_absolute"),
        Modality("ndsm", "D", 1, "float32", "m", "height_normalised"),
    ),
    always=("irrg",),
    reference_order=("irrg", "dsm", "ndsm"),
    expected={
        "irrg": "top/top_mosaic_09cm_{0}.tif",
        "dsm": "dsm_09cm_matching_{0}.tif",
        "ndsm": "ndsm_09cm_matching_{0}.bmp",
        "label": "top_mosaic_09cm_{0}.tif of the complete ground truth",
        "label_eroded": "top_mosaic_09cm_{0}_noBoundary.tif",
    },
    patterns=(TOP, DSM, NDSM),
    tile_of=tile_of,
    normalise=normalise_tile,
    find=find_files,
    jobs=raster_jobs,
).adapter()
