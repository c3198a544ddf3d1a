"""Masks of buildings as records of a COCO file, with the oddities that DFC2023's records have.

Source: dataset dossier, sections 5.4 and 11.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

EIGHT = np.ones((3, 3), np.int64)
# steps to the eight neighbours as (row, column), clockwise, beginning in the east
STEPS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
Ring = list[tuple[int, int]]
Mask = NDArray[np.bool_]


def mask_records(mask: Mask, rng: np.random.Generator) -> list[Any]:
    """Return annotations (without ids) whose union is a mask `(H, W)`, outlines included.

    Every connected piece is a record: of a ring through the centres of its border pixels or, with
    holes, a run-length code (as text). Some are cut into two that overlap; two small
    ones share a record; one has a degenerate ring besides its own; some rings touch themselves;
    some repeat their first point, others do not.
    """
    shapes = _connected_pieces(mask)
    shapes.sort(key=lambda shape: int(shape.sum()))
    records = []
    if len(shapes) >= 4:
        records.append(_record(shapes[:2], rng))
        shapes = shapes[2:]
    for k, shape in enumerate(shapes):
        for half in _halves(shape) if k % 5 == 3 else [shape]:
            records.append(_record([half], rng, spike=k % 7 == 0))
    for record in records:
        rings = record["segmentation"]
        if isinstance(rings, list):
            x, y = rings[0][:2]
            rings += [[x, y], [x, y, x, y]]  # one point, and one point twice
            break
    return records


def _connected_pieces(mask: Mask) -> list[Mask]:
    numbers, count = ndimage.label(mask, EIGHT)
    return [numbers == number for number in range(1, count + 1)]


def _halves(shape: Mask) -> list[Mask]:
    """Cut a piece in two that share two columns."""
    columns = np.flatnonzero(shape.any(axis=0))
    middle = int(columns[len(columns) // 2])
    if len(columns) < 6:
        return [shape]
    west, east = shape.copy(), shape.copy()
    west[:, middle + 1 :] = False
    east[:, : middle - 1] = False
    return [west, east]


def _record(shapes: list[Mask], rng: np.random.Generator, spike: bool = False) -> dict[str, Any]:
    mask = np.logical_or.reduce(shapes)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    segmentation: Any
    if (ndimage.binary_fill_holes(mask) != mask).any():
        counts = pack_run_lengths(run_lengths(mask))
        segmentation = {"size": list(mask.shape), "counts": counts}
    else:
        # a cut may part a piece further: each part becomes a ring of the same record
        segmentation = []
        for shape in shapes:
            segmentation += [_outline(piece, rng) for piece in _connected_pieces(shape)]
        if spike:
            _add_spike(segmentation[0], mask)
    left, top = int(columns[0]), int(rows[0])
    return {
        "segmentation": segmentation,
        "iscrowd": 0,
        "category_id": 1,
        "bbox": [left, top, int(columns[-1]) - left, int(rows[-1]) - top],
        "area": float(mask.sum()),
    }


def _outline(piece: Mask, rng: np.random.Generator) -> list[int]:
    """Return the ring around a piece as x0, y0, x1, ..."""
    ring = drop_straight_points(trace_border(piece))
    if rng.random() < 0.62:
        ring.append(ring[0])
    return [int(value) for row, column in ring for value in (column, row)]


def trace_border(piece: Mask) -> Ring:
    """Return the border pixels (row, column) of one 8-connected piece, by Moore's walk.

    Example:
        >>> trace_border(np.array([[True, True], [True, True]]))
        [(0, 0), (0, 1), (1, 1), (1, 0)]
    """
    padded = np.pad(piece, 1)
    row, column = (int(v) for v in np.argwhere(padded)[0])
    first = (row, column)
    ring: Ring = []
    # the westernmost pixel of the top row: nothing above it, nothing to its left
    heading, begun = 0, None
    while True:
        for turn in range(8):
            step = (heading + 6 + turn) % 8  # from the left of the way we came, clockwise
            down, right = STEPS[step]
            if padded[row + down, column + right]:
                break
        else:
            return [(row - 1, column - 1)]  # a single pixel
        # the first pixel may be passed again on the way: only the same step closes the ring
        if (row, column) == first and step == begun:
            return ring
        begun = step if begun is None else begun
        ring.append((row - 1, column - 1))
        row, column, heading = row + down, column + right, step if step % 2 == 0 else (step - 1) % 8


def drop_straight_points(ring: Ring) -> Ring:
    """Leave out the points between two equal steps."""
    if len(ring) < 3:
        return ring
    kept = []
    for number, (row, column) in enumerate(ring):
        before, after = ring[number - 1], ring[(number + 1) % len(ring)]
        arriving = row - before[0], column - before[1]
        leaving = after[0] - row, after[1] - column
        if arriving != leaving:
            kept.append((row, column))
    return kept


def _add_spike(ring: list[int], mask: Mask) -> None:
    """Let a ring go from its first point along the row into the mask, and back."""
    x, y = ring[:2]
    end = x
    while end + 1 < mask.shape[1] and mask[y, end + 1] and end < x + 3:
        end += 1
    ring[2:2] = [end, y, x, y]


def run_lengths(mask: Mask) -> list[int]:
    """Return lengths of alternating runs of zeros and ones, column after column, zeros first.

    Example:
        >>> run_lengths(np.array([[True, False], [True, True]]))
        [0, 2, 1, 1]
    """
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths


def pack_run_lengths(lengths: list[int]) -> str:
    """Return run lengths as COCO's text: five bits a character, differences from the 4th on."""
    text = ""
    for place, length in enumerate(lengths):
        number = length - lengths[place - 2] if place > 2 else length
        done = False
        while not done:
            group, number = number & 31, number >> 5
            # a number ends where the rest is nothing but copies of its sign
            done = number == (-1 if group & 16 else 0)
            text += chr(48 + group + (0 if done else 32))
    return text
