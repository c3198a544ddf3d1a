"""What the two ISPRS cities share: classes, label colours, decimetre heights, lists of tiles, inventories.

Source: dataset dossier, sections 1 and 2.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datamodules.ingest.plan import RasterJob, share_out
from datamodules.ingest.sources import SourceIndex, sizes
from datamodules.store.scene_store import IGNORE, PARTS, SPLIT_VALUES, SceneClass

SPLITS = Path(__file__).parents[1] / "splits"
THRESHOLD = 127
DOUBT = 40  # a channel this near to the threshold is in neither corner of the colour cube
# thresholded colour, 4 R + 2 G + B -> class; black (0) is the boundary of eroded labels, magenta (5) is nothing
CODES = np.array([IGNORE, 1, 3, 2, 5, IGNORE, 4, 0], np.uint8)
MAGENTA = 5


def isprs_classes() -> list[SceneClass]:
    """Return the six classes in the order of the benchmark, with their colours; clutter is the last."""
    with (SPLITS / "classes_isprs.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [
        SceneClass(
            int(r["id"]), r["name"], (int(r["r"]), int(r["g"]), int(r["b"])), r["clutter"] == "1"
        )
        for r in rows
    ]


def decode_label(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decode a label picture by threshold (dossier 2 and 12.1), which also repairs blended and off-palette colours.

    Args:
        rgb: 3 x h x w uint8, R, G, B.

    Returns:
        Class ids (h x w uint8, black and unknown 255), and where the colour is unknown (h x w bool): magenta, or a
        channel within 40 of 127.
    """
    high = rgb > THRESHOLD
    code = (high[0].view(np.uint8) << 2) | (high[1].view(np.uint8) << 1) | high[2].view(np.uint8)
    low, top = THRESHOLD - DOUBT, THRESHOLD + DOUBT
    unknown = ((rgb >= low) & (rgb <= top)).any(axis=0) | (code == MAGENTA)
    ids = CODES[code]
    ids[unknown] = IGNORE
    return ids, unknown


def decimetres(values: np.ndarray) -> np.ndarray:
    """Return heights in metres (float32) from a normalised surface model in 8-bit decimetres (dossier 3.3)."""
    return values.astype(np.float32) / np.float32(10)


def split_table(name: str) -> dict[str, dict[str, str]]:
    """Return {tile: {split column: value}} of a list of tiles that comes with this package."""
    with (SPLITS / name).open(encoding="utf-8", newline="") as stream:
        return {
            row["tile"]: {
                column: value for column, value in row.items() if column.startswith("split_")
            }
            for row in csv.DictReader(stream)
        }


def parts(splits: Mapping[str, Mapping[str, str]], column: str) -> tuple[str, ...]:
    """Return the parts (train, val, test) that a split column has."""
    return tuple(part for part in PARTS if any(row[column] == part for row in splits.values()))


def inventory(
    title: str, index: SourceIndex, jobs: Mapping[str, Mapping[str, RasterJob]], required: tuple[str, ...],
    splits: Mapping[str, Mapping[str, str]], optical: str,
) -> list[str]:  # fmt: skip
    """Return the lines printed before an import (dossier, rule 8): what was found, what lacks, counts of the splits.

    `jobs` is {tile: {raster: job}}, `required` what every tile should have, `optical` the raster whose sizes are told.
    """
    whole = [
        tile for tile, rasters in jobs.items() if all(raster in rasters for raster in required)
    ]
    lines = [
        f"{title} in {index.root}: {len(whole)} of {len(jobs)} tiles have {', '.join(required)}"
    ]
    for raster in dict.fromkeys((*required, *(r for rasters in jobs.values() for r in rasters))):
        files = {
            job.source.origin: job.source.size
            for rasters in jobs.values()
            if (job := rasters.get(raster))
        }
        lines.append(f"  {raster}: {len(files)} files, {sum(files.values()) / 1e6:.1f} MB")
    lines.append(
        "  sizes: "
        + sizes([job.source for rasters in jobs.values() if (job := rasters.get(optical))])
    )
    for tile, rasters in jobs.items():
        if lacking := [raster for raster in required if raster not in rasters]:
            lines.append(f"  {tile} lacks {', '.join(lacking)}")
    for column in ("split_standard", "split_official"):
        counts = Counter(splits[tile][column] for tile in whole)
        expected = Counter(row[column] for row in splits.values())
        lines.append(
            f"  {column}: {share_out({v: counts[v] for v in SPLIT_VALUES}) or 'none'} "
            f"(whole benchmark: {share_out({v: expected[v] for v in SPLIT_VALUES})})"
        )
    return lines
