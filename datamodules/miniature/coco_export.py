"""Masks of buildings as records of a COCO file, with all that the records of DFC2023 are known to hold.

Source: dataset dossier, sections 5.4 and 11.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

EIGHT = np.ones((3, 3), np.int64)
# steps to the eight neighbours as (row, column), clockwise, beginning in the east
STEPS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
Ring = list[tuple[int, int]]


def mask_records(
    mask: NDArray[np.bool_], rng: np.random.Generator, *, packed: bool = True
) -> list[dict[str, Any]]:
    """Return annotations (without ids) whose union is `mask` (H x W), outlines included.

    Every connected piece is a record: of a ring through the centres of its border pixels or, with holes, a run-length
    code (as text if `packed`). Some are cut into two that overlap; two small ones share a record; one has a
    degenerate ring besides its own; some rings touch themselves; some rings repeat their first point, others do not.
    """
    pieces, number = ndimage.label(mask, EIGHT)
    shapes = [
        _placed(pieces == k, at) for k, at in enumerate(ndimage.find_objects(pieces), start=1)
    ]
    shapes.sort(key=lambda shape: int(shape.sum()))
    out = []
    if number >= 4:
        out.append(_record([shapes[0], shapes[1]], rng, packed))
        shapes = shapes[2:]
    for k, shape in enumerate(shapes):
        halves = _halves(shape) if k % 5 == 3 else [shape]
        out += [_record([half], rng, packed, spike=k % 7 == 0) for half in halves]
    rings = [record["segmentation"] for record in out if isinstance(record["segmentation"], list)]
    if rings:
        x, y = rings[0][0][:2]
        rings[0] += [[x, y], [x, y, x, y]]  # one point, and one point twice
    return out


def _placed(piece: NDArray[np.bool_], at: tuple[slice, slice]) -> NDArray[np.bool_]:
    shape = np.zeros_like(piece)
    shape[at] = piece[at]
    return shape


def _halves(shape: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Cut a piece in two that share two columns; what the cut parts further stays in one record's mask."""
    columns = np.flatnonzero(shape.any(axis=0))
    middle = int(columns[len(columns) // 2])
    if len(columns) < 6:
        return [shape]
    west, east = shape.copy(), shape.copy()
    west[:, middle + 1 :] = False
    east[:, : middle - 1] = False
    return [west, east]


def _record(
    shapes: list[NDArray[np.bool_]], rng: np.random.Generator, packed: bool, spike: bool = False
) -> dict[str, Any]:
    mask = np.logical_or.reduce(shapes)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    segmentation: Any
    if (ndimage.binary_fill_holes(mask) != mask).any():
        segmentation = {
            "size": list(mask.shape),
            "counts": pack_run_lengths(run_lengths(mask)) if packed else run_lengths(mask),
        }
    else:
        segmentation = []
        for shape in shapes:
            pieces, number = ndimage.label(shape, EIGHT)
            for k in range(1, number + 1):
                ring = drop_straight_points(trace_border(pieces == k))
                if rng.random() < 0.62:
                    ring.append(ring[0])
                segmentation.append([int(value) for y, x in ring for value in (x, y)])
        if spike:
            _add_spike(segmentation[0], mask)
    return {
        "segmentation": segmentation,
        "iscrowd": 0,
        "category_id": 1,
        "bbox": [
            int(columns[0]),
            int(rows[0]),
            int(columns[-1] - columns[0]),
            int(rows[-1] - rows[0]),
        ],
        "area": float(mask.sum()),
    }


def trace_border(piece: NDArray[np.bool_]) -> Ring:
    """Return the border pixels (row, column) of one 8-connected piece in order, by Moore's neighbourhood walk."""
    padded = np.pad(piece, 1)
    row, column = (int(v) for v in np.argwhere(padded)[0])
    first = (row, column)
    ring: Ring = []
    heading, begun = (
        0,
        None,
    )  # the westernmost pixel of the top row: nothing above it, nothing to its left
    while True:
        for turn in range(8):
            step = (heading + 6 + turn) % 8  # from the left of the way we came, clockwise
            down, right = STEPS[step]
            if padded[row + down, column + right]:
                break
        else:
            return [(row - 1, column - 1)]  # a single pixel
        if (row, column) == first and step == begun:
            return ring
        begun = step if begun is None else begun
        ring.append((row - 1, column - 1))
        row, column, heading = row + down, column + right, step if step % 2 == 0 else (step - 1) % 8


def drop_straight_points(ring: Ring) -> Ring:
    """Leave out the points between two equal steps."""
    if len(ring) < 3:
        return ring
    around = zip([ring[-1], *ring[:-1]], ring, [*ring[1:], ring[0]], strict=True)
    return [b for a, b, c in around if (b[0] - a[0], b[1] - a[1]) != (c[0] - b[0], c[1] - b[1])]


def _add_spike(ring: list[int], mask: NDArray[np.bool_]) -> None:
    """Let a ring (x0, y0, x1, ...) go from its first point along the row into the mask, and back."""
    x, y = ring[:2]
    end = x
    while end + 1 < mask.shape[1] and mask[y, end + 1] and end < x + 3:
        end += 1
    ring[2:2] = [end, y, x, y]


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Return the lengths of alternating runs of zeros and ones, column after column, zeros first."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths


def pack_run_lengths(lengths: list[int]) -> str:
    """Return run lengths as text the way COCO packs them: five bits a character, differences from the fourth on."""
    text = ""
    for place, length in enumerate(lengths):
        number = length - lengths[place - 2] if place > 2 else length
        while True:
            group, number = number & 31, number >> 5
            done = number == (-1 if group & 16 else 0)
            text += chr(48 + group + (0 if done else 32))
            if done:
                break
    return text
