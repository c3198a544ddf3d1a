"""What the copies of the two ISPRS cities share: label colours and their erosion.

Source: dataset dossier, section 2.
"""

import numpy as np
from numpy.typing import NDArray

LIT = [[1, 1, 1], [0, 0, 1], [0, 1, 1], [0, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]]
PALETTE = 255 * np.array(LIT, np.uint8)
BOUNDARY = 6  # row of PALETTE; black in eroded labels
EROSION_RADIUS = 3  # px


def erode_label(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Set pixels of `(H, W)` ids within 3 px of another class to `BOUNDARY`.

    Example:
        >>> erode_label(np.array([[0, 0, 0, 0, 1]], np.uint8)).tolist()
        [[0, 6, 6, 6, 6]]
    """
    from scipy import ndimage

    out = label.copy()
    for value in np.unique(label):
        inside = label == value
        if not inside.all():
            near = ndimage.distance_transform_edt(inside) <= EROSION_RADIUS
            out[inside & near] = BOUNDARY
    return out


def paint_label(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ids `(H, W)`, `BOUNDARY` allowed, as a uint8 colour picture `(3, H, W)`."""
    return np.moveaxis(PALETTE[label], -1, 0).copy()
