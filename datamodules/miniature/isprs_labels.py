"""What the generated copies of the two ISPRS cities share: the palette of labels, and their erosion (dossier 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PALETTE = np.array(
    [
        [255, 255, 255],
        [0, 0, 255],
        [0, 255, 255],
        [0, 255, 0],
        [255, 255, 0],
        [255, 0, 0],
        [0, 0, 0],
    ],
    np.uint8,
)
BOUNDARY = 6  # row of PALETTE; black in eroded labels
EROSION_RADIUS = 3  # px


def erode_label(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Set to `BOUNDARY` every pixel of `label` (H x W) within 3 px (disc) of a pixel of another class (dossier 2)."""
    from scipy import ndimage

    out = label.copy()
    for value in np.unique(label):
        inside = label == value
        if not inside.all():
            out[inside & (ndimage.distance_transform_edt(inside) <= EROSION_RADIUS)] = BOUNDARY
    return out


def paint_label(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ids (H x W, `BOUNDARY` allowed) as a colour picture (3 x H x W uint8)."""
    return np.moveaxis(PALETTE[label], -1, 0).copy()
