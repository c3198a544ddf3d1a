"""ISPRS Potsdam: from the files of the benchmark to scenes (dataset dossier, section 3).

Kept in the store, each if the source has what it needs: `rgb` and `nir` (from RGBIR, else from the RGB file and band 1
of IRRG), `irrg`, `dsm`, `ndsm` (metres), `label`, `label_eroded`. Every file is found by its base name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

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
from datamodules.store.scene_store import Modality
from usererror import UserError

TILE = r"_0?(\d{1,2})_0?(\d{1,2})"  # optical files and labels write 2_10, heights 02_10; people rename: accept both
TOP = re.compile(rf"top_potsdam{TILE}_(RGBIR|IRRG|RGB)\.tiff?$", re.IGNORECASE)
LABEL = re.compile(rf"top_potsdam{TILE}_label(_noBoundary)?\.tiff?$", re.IGNORECASE)
DSM = re.compile(rf"dsm_potsdam{TILE}\.tiff?$", re.IGNORECASE)
NDSM = re.compile(
    rf"dsm_potsdam{TILE}_normalized_(lastools|ownapproach)\.(?:jpe?g|tiff?|png)$", re.IGNORECASE
)
WORLD = re.compile(rf"top_potsdam{TILE}_(RGBIR|IRRG|RGB)\.(?:tfw|tifw)$", re.IGNORECASE)
MODALITIES = (
    Modality("rgb", "R", 3, "uint8", "counts", "optical"),
    Modality("dsm", "D", 1, "float32", "m", "height_absolute"),
    Modality("nir", "N", 1, "uint8", "counts", "optical"),
    Modality("irrg", "I", 3, "uint8", "counts", "optical"),
    Modality("ndsm", "D", 1, "float32", "m", "height_normalised"),
)
EXPECTED = {  # raster: name of the file it needs, for the list of missing ones
    **dict.fromkeys(
        ("rgb", "nir", "irrg"), "top_potsdam_{0}_{1}_RGBIR.tif (or _RGB.tif and _IRRG.tif)"
    ),
    "dsm": "dsm_potsdam_{0:0>2}_{1:0>2}.tif",
    "ndsm": "dsm_potsdam_{0:0>2}_{1:0>2}_normalized_lastools.jpg",
    "label": "top_potsdam_{0}_{1}_label.tif",
    "label_eroded": "top_potsdam_{0}_{1}_label_noBoundary.tif",
}
GSD_M = 0.05


@dataclass(frozen=True)
class Found:
    """Files by tile and kind (RGBIR, IRRG, RGB, dsm, lastools, ownapproach, label, label_eroded)."""

    files: dict[tuple[str, str], SourceFile]

    def get(self, tile: str, kind: str) -> SourceFile | None:
        """Return the file of a tile, or None."""
        return self.files.get((tile, kind))


def plan_potsdam(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Return the import plan of a source; raises UserError when it has no Potsdam files, or for unknown tiles."""
    splits = split_table("potsdam.csv")
    about = read_about(index)
    found = _find(index)
    if not found.files:
        raise UserError(
            f"No file of Potsdam among the {len(index.files)} below {index.root} (names like "
            f"top_potsdam_2_10_RGBIR.tif are looked for). {ADAPTER.obtain}"
        )
    tiles = _wanted(options, splits)
    jobs = {tile: _jobs(tile, found) for tile in tiles}
    have = Counter(raster for rasters in jobs.values() for raster in rasters)
    height = "ndsm" if have["ndsm"] > have["dsm"] else "dsm"
    label = "label_eroded" if have["label_eroded"] > have["label"] else "label"
    # whatever some tiles have, all should have: a gap is said, not skipped
    required = tuple(
        raster for raster in EXPECTED if have[raster] or raster in ("rgb", "nir", height, label)
    )
    missing = [
        Missing(tile, raster, EXPECTED[raster].format(*tile.split("_")))
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
        title=about.get("title", "ISPRS Potsdam"),
        licence=about.get("licence", "Research use only; no passing on to third parties (ISPRS)"),
        citation=about.get(
            "citation",
            "ISPRS 2D Semantic Labeling Contest - Potsdam, ISPRS Working Group II/4; normalised heights: M. Gerke",
        ),
        classes=isprs_classes(),
        modalities=[m for m in MODALITIES if m.name in used],
        labels=[name for name in dict.fromkeys((label, "label", "label_eroded")) if name in used],
        splits={column: parts(splits, column) for column in splits[tiles[0]]},
        scenes=scenes,
        gsd_m=_gsd(index),
        gsd_default=GSD_M,
        missing=missing,
    )
    plan.warnings = _strangers(index, splits)
    plan.inventory = inventory("ISPRS Potsdam", index, jobs, required, splits, "rgb")
    return plan


def _tile(match: re.Match[str]) -> str:
    return f"{int(match[1])}_{int(match[2])}"


def _find(index: SourceIndex) -> Found:
    kinds: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
        (TOP, lambda match: match[3].upper()),
        (DSM, lambda match: "dsm"),
        (NDSM, lambda match: match[3].lower()),
        (LABEL, lambda match: "label_eroded" if match[3] else "label"),
    ]
    files: dict[tuple[str, str], SourceFile] = {}
    for pattern, kind in kinds:
        # one kind at a time: "the folder that holds most" is asked of each kind of file by itself
        by_kind: dict[str, list[tuple[tuple[str, str], SourceFile]]] = {}
        for file, match in index.matches(pattern):
            by_kind.setdefault(kind(match), []).append(((_tile(match), kind(match)), file))
        for candidates in by_kind.values():
            files |= index.choose(candidates)
    return Found(files)


def _wanted(options: ImportOptions, splits: dict[str, dict[str, str]]) -> list[str]:
    if options.tiles is None:
        return list(splits)
    wanted = [
        "_".join(str(int(part)) if part.isdigit() else part for part in t.split("_"))
        for t in options.tiles
    ]
    if unknown := [tile for tile in wanted if tile not in splits]:
        raise UserError(f"Potsdam has no tile {unknown[0]!r}; it has: {', '.join(splits)}.")
    if not wanted:
        raise UserError("No tile is asked for: name some, or leave the choice out for all.")
    return list(dict.fromkeys(wanted))


def _jobs(tile: str, found: Found) -> dict[str, RasterJob]:
    """Return a job for every raster that the files of a tile can give."""
    rgbir, irrg, rgb = (found.get(tile, kind) for kind in ("RGBIR", "IRRG", "RGB"))
    jobs = {}
    if rgbir or rgb:
        jobs["rgb"] = _optical(rgbir or rgb, (1, 2, 3), 4 if rgbir else 3)
    if rgbir or irrg:
        jobs["nir"] = _optical(rgbir or irrg, (4,) if rgbir else (1,), 4 if rgbir else 3)
        jobs["irrg"] = _optical(irrg or rgbir, (1, 2, 3) if irrg else (4, 1, 2), 3 if irrg else 4)
    if dsm := found.get(tile, "dsm"):
        jobs["dsm"] = RasterJob(
            dsm, (1,), "float32", "height_absolute", (1,), ("float32", "float64")
        )
    lastools, own = found.get(tile, "lastools"), found.get(tile, "ownapproach")
    if first := lastools or own:
        other = own if lastools else None
        # may open with one band or with three equal ones
        jobs["ndsm"] = RasterJob(
            first,
            (1,),
            "float32",
            "height_normalised",
            (1, 3),
            ("uint8",),
            decimetres,
            fallback=other,
        )
    for name in ("label", "label_eroded"):
        if file := found.get(tile, name):
            jobs[name] = RasterJob(
                file, (1, 2, 3), "uint8", "label", (3, 4), ("uint8",), decode_label
            )
    return jobs


def _optical(file: SourceFile | None, bands: tuple[int, ...], count: int) -> RasterJob:
    assert file is not None
    return RasterJob(file, bands, "uint8", "optical", (count,), ("uint8",))


def _reference(jobs: dict[str, RasterJob]) -> str:
    """Return the raster that says the size of the scene: an optical one if there is one; "" without any modality."""
    return next((name for name in ("rgb", "nir", "irrg", "dsm", "ndsm") if name in jobs), "")


def _gsd(index: SourceIndex) -> float | None:
    """Return the pixel side in metres from a world file of the optical images, None without one."""
    for file in index.find(WORLD, _tile).values():
        try:
            return abs(float(file.read_bytes().split()[0])) or None
        except (ValueError, IndexError):
            index.warnings.append(f"{file.origin} is no world file: ignored")
    return None


def _strangers(index: SourceIndex, splits: dict[str, dict[str, str]]) -> list[str]:
    found = [pair for pattern in (TOP, LABEL, DSM, NDSM) for pair in index.matches(pattern)]
    return [
        f"{file.rel} is of no tile of the benchmark: ignored"
        for file, m in found
        if _tile(m) not in splits
    ]


ADAPTER = Adapter(
    name="potsdam",
    title="ISPRS Potsdam",
    obtain=(
        "To obtain it: ISPRS, 2D Semantic Labeling Contest - Potsdam (isprs.org, Benchmarks, UrbanSemLab); the page "
        "gives a share link and its password. Needed from Potsdam.zip: 4_Ortho_RGBIR, 1_DSM, 5_Labels_all; useful: "
        "5_Labels_all_noBoundary, 1_DSM_normalisation. Packed or unpacked, in any folder."
    ),
    plan=plan_potsdam,
    modalities=MODALITIES,
    classes=isprs_classes,
)
