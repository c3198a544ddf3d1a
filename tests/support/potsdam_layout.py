"""The Potsdam download's layout, and how the tests read the generated copy of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

NDSM = "1_DSM_normalisation/1_DSM_normalisation/dsm_potsdam_{p}_normalized"
# Dossier 3.3: names, bands, types.
LAYOUT = {
    "2_Ortho_RGB/2_Ortho_RGB/top_potsdam_{t}_RGB.tif": (3, "uint8", "EPSG:32633"),
    "3_Ortho_IRRG/3_Ortho_IRRG/top_potsdam_{t}_IRRG.tif": (3, "uint8", "EPSG:32633"),
    "4_Ortho_RGBIR/4_Ortho_RGBIR/top_potsdam_{t}_RGBIR.tif": (4, "uint8", "EPSG:32633"),
    "1_DSM/1_DSM/dsm_potsdam_{p}.tif": (1, "float32", None),
    f"{NDSM}_lastools.jpg": (1, "uint8", None),
    f"{NDSM}_ownapproach.jpg": (1, "uint8", None),
    "5_Labels_all/top_potsdam_{t}_label.tif": (3, "uint8", None),
    "5_Labels_all_noBoundary/top_potsdam_{t}_label_noBoundary.tif": (3, "uint8", None),
}
# the tiles of the fixture `town`
TOWN = ("2_10", "2_13", "3_11", "3_14", "4_12", "5_15", "6_7", "7_9")


def path_of(template: str, tile: str) -> str:
    row, column = map(int, tile.split("_"))
    return template.format(t=tile, p=f"{row:02}_{column:02}")


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def layer(root: Path, tile: str, kind: str) -> np.ndarray:
    """C x H x W of the one file of `tile` whose layout name contains `kind`."""
    return read(root / path_of(next(name for name in LAYOUT if kind in name), tile))
