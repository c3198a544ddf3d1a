"""What the two ISPRS cities share: classes, label colours, heights in decimetres (dataset dossier, section 2)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from datamodules.store import IGNORE, SceneClass

SPLITS = Path(__file__).parent / "splits"
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
        SceneClass(int(r["id"]), r["name"], (int(r["r"]), int(r["g"]), int(r["b"])), r["clutter"] == "1") for r in rows
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
