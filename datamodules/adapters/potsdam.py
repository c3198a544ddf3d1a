"""ISPRS Potsdam: from the files of the benchmark to scenes (dataset dossier, section 3).

Kept in the store, each if the source has what it needs: `rgb` and `nir` (from RGBIR, else from the
RGB file and band 1 of IRRG), `irrg`, `dsm`, `ndsm` (metres), `label`, `label_eroded`. Every file is
found by its base name.
"""

import re
from dataclasses import replace

from datamodules.adapters.isprs import Files, IsprsCity, label_jobs
from datamodules.ingest.plan import RasterJob
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.store.scene_store import Modality

# optical files and labels write 2_10, heights 02_10; people rename: accept both
TILE = r"_0?(\d{1,2})_0?(\d{1,2})"
TOP = re.compile(rf"(?i)top_potsdam{TILE}_(RGBIR|IRRG|RGB)\.tiff?$")
LABEL = re.compile(rf"(?i)top_potsdam{TILE}_label(_noBoundary)?\.tiff?$")
DSM = re.compile(rf"(?i)dsm_potsdam{TILE}\.tiff?$")
NDSM = re.compile(rf"(?i)dsm_potsdam{TILE}_normalized_(lastools|ownapproach)\.(?:jpe?g|tiff?|png)$")
WORLD = re.compile(rf"(?i)top_potsdam{TILE}_(RGBIR|IRRG|RGB)\.(?:tfw|tifw)$")
RGBIR = "top_potsdam_{0}_{1}_RGBIR.tif (or _RGB.tif and _IRRG.tif)"


def tile_of(match: re.Match[str]) -> str:
    """Return the tile of a file name: `2_10`."""
    return f"{int(match[1])}_{int(match[2])}"


def kind_of(pattern: re.Pattern[str], match: re.Match[str]) -> str:
    """Return RGBIR, IRRG, RGB, dsm, lastools, ownapproach, label or label_eroded."""
    if pattern is DSM:
        return "dsm"
    if pattern is LABEL:
        return "label_eroded" if match[3] else "label"
    return match[3].upper() if pattern is TOP else match[3].lower()


def normalise_tile(text: str) -> str:
    """Return the name of a tile without leading zeros."""
    return "_".join(part.lstrip("0") or part for part in text.split("_"))


def find_files(index: SourceIndex, tiles: set[str]) -> Files:
    """Return one file per tile and kind."""
    candidates: dict[str, list[tuple[tuple[str, str], SourceFile]]] = {}
    for pattern in (TOP, DSM, NDSM, LABEL):
        for file, match in index.match_names(pattern):
            kind = kind_of(pattern, match)
            candidates.setdefault(kind, []).append(((tile_of(match), kind), file))
    files: Files = {}
    # one kind at a time: "the folder that holds most" is asked of each kind of file by itself
    for pairs in candidates.values():
        files |= index.choose_copies(pairs)
    return files


def raster_jobs(tile: str, files: Files) -> dict[str, RasterJob]:
    """Return a job for every raster that the files of a tile can give."""
    rgbir, irrg, rgb = (files.get((tile, kind)) for kind in ("RGBIR", "IRRG", "RGB"))
    jobs = {}
    if rgbir:
        jobs["rgb"] = RasterJob.image(rgbir, (1, 2, 3), (4,))
        jobs["nir"] = RasterJob.image(rgbir, (4,), (4,))
        jobs["irrg"] = RasterJob.image(rgbir, (4, 1, 2), (4,))
    elif rgb:
        jobs["rgb"] = RasterJob.image(rgb)
    # original bands rather than a rearrangement of RGBIR
    if irrg:
        jobs["irrg"] = RasterJob.image(irrg)
        jobs.setdefault("nir", RasterJob.image(irrg, (1,)))
    if dsm := files.get((tile, "dsm")):
        # its world files and those of the images need not agree by half a pixel (dossier 3.2)
        heights_job = RasterJob.measurement(dsm, "height_absolute")
        jobs["dsm"] = replace(heights_job, place_tolerance=1.0)
    # some files of the first kind hold one single value
    heights = [files[tile, kind] for kind in ("lastools", "ownapproach") if (tile, kind) in files]
    if heights:
        jobs["ndsm"] = RasterJob.height_decimetres(*heights)
    # the one tile whose heights were published a column short (dossier 3.3)
    for raster in {"dsm", "ndsm"} & jobs.keys() if tile == "3_13" else ():
        jobs[raster] = replace(jobs[raster], size_tolerance=1)
    return jobs | label_jobs(tile, files)


def world_file_side(index: SourceIndex) -> float | None:
    """Return the pixel side in metres from a world file of the optical images, None without one."""
    # the generated copy is coarser than the real archive, and says so here only
    for file in index.find_files(WORLD, tile_of).values():
        try:
            return abs(float(file.read_bytes().split()[0])) or None
        except (ValueError, IndexError):
            index.warnings.append(f"{file.origin} is no world file: ignored")
    return None


ADAPTER = IsprsCity(
    name="potsdam",
    obtain=(
        "To obtain it: ISPRS, 2D Semantic Labeling Contest - Potsdam (isprs.org, Benchmarks, "
        "UrbanSemLab); the page gives a share link and its password. Needed from Potsdam.zip: "
        "4_Ortho_RGBIR, 1_DSM, 5_Labels_all; useful: 5_Labels_all_noBoundary, "
        "1_DSM_normalisation. Packed or unpacked, in any folder."
    ),
    licence="Research use only; no passing on to third parties (ISPRS)",
    citation=(
        "ISPRS 2D Semantic Labeling Contest - Potsdam, ISPRS Working Group II/4; "
        "normalised heights: M. Gerke"
    ),
    gsd_m=0.05,
    modalities=(
        Modality("rgb", "R", 3, "uint8", "counts", "optical"),
        Modality("dsm", "D", 1, "float32", "m", "height_absolute"),
        Modality("nir", "N", 1, "uint8", "counts", "optical"),
        Modality("irrg", "I", 3, "uint8", "counts", "optical"),
        Modality("ndsm", "D", 1, "float32", "m", "height_normalised"),
    ),
    always=("rgb", "nir"),
    reference_order=("rgb", "nir", "irrg", "dsm", "ndsm"),
    expected={
        "rgb": RGBIR,
        "nir": RGBIR,
        "irrg": RGBIR,
        "dsm": "dsm_potsdam_{0:0>2}_{1:0>2}.tif",
        "ndsm": "dsm_potsdam_{0:0>2}_{1:0>2}_normalized_lastools.jpg",
        "label": "top_potsdam_{0}_{1}_label.tif",
        "label_eroded": "top_potsdam_{0}_{1}_label_noBoundary.tif",
    },
    patterns=(TOP, LABEL, DSM, NDSM),
    tile_of=tile_of,
    normalise=normalise_tile,
    find=find_files,
    jobs=raster_jobs,
    pixel_side=world_file_side,
).adapter()
