"""Windows of a scene, read in batches: what a thread does while the network is at work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from datamodules.store.reader import Window

if TYPE_CHECKING:
    from benchmark.maps.window_grid import Rows
    from datamodules.loading.inference_rasters import InferenceRaster

Corner = tuple[int, int]  # row and column of a window's upper left pixel


class Batch(NamedTuple):
    """Windows of a row that the network sees together; none where no input says anything."""

    corners: list[Corner]
    images: dict[str, np.ndarray]  # float32 (B, C, h, w) by modality
    valid: np.ndarray  # bool (B, h, w), where some input says something
    final: int  # end of the rows that no later batch reaches


def default_batch(window: int, device: str) -> int:
    """Choose how many windows the network sees together.

    Example:
        >>> default_batch(512, "cuda"), default_batch(512, "cpu"), default_batch(128, "cpu")
        (8, 1, 4)
    """
    # fewer leave a GPU idle; more do not fit the cache of a CPU, which makes it slower
    pixels = 256**2 if device == "cpu" else 8 * 512**2
    return max(1, pixels // window**2)


def read_batches(
    rasters: Mapping[str, InferenceRaster], rows: Rows, columns: range, window: int, size: int
) -> Iterator[Batch]:
    """Read the windows that touch `columns` of a scene, from the top down, `size` at a time."""
    top = 0
    for final, corners in rows:
        near = [corner for corner in corners if -window < corner[1] - columns[0] < len(columns)]
        for start in range(0, max(len(near), 1), size):
            some = near[start : start + size]
            # the last of a row finishes what lies above the next
            yield read_batch(rasters, some, window, final if start + size >= len(near) else top)
        top = final


def read_batch(
    rasters: Mapping[str, InferenceRaster], corners: Sequence[Corner], window: int, final: int
) -> Batch:
    """Read windows from the rectangle around them: what they share is decoded once.

    Windows of which no input says anything are left out.
    """
    if not corners:
        return Batch([], {}, np.zeros((0, window, window), bool), final)
    (top, left), (bottom, right) = np.min(corners, 0).tolist(), np.max(corners, 0).tolist()
    around = Window(top, left, bottom - top + window, right - left + window)
    # filled where it is void, however much of the window that is: a modality is there or absent in
    # a scene, as it is in training and evaluation
    read = {name: raster.read(around) for name, raster in rasters.items()}

    def cut(whole: np.ndarray, some: Sequence[Corner]) -> np.ndarray:
        parts = []
        for row, col in some:
            parts.append(whole[..., row - top :, col - left :][..., :window, :window])
        return np.stack(parts)

    said = np.logical_or.reduce([says for _, says in read.values()])
    valid = cut(said, corners)
    # the map says nodata elsewhere
    kept = np.flatnonzero(valid.any((1, 2)))
    some = [corners[number] for number in kept.tolist()]
    images = {name: cut(pixels, some) for name, (pixels, _) in read.items()} if some else {}
    return Batch(some, images, valid[kept], final)
