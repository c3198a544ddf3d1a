"""Outlines of objects in a COCO file, and their mask (dataset dossier, sections 5.4 and 12.3).

A record's shape is a list of rings, each a part of the object and never a hole, or a run-length
code that counts down the columns. Rings go through the centres of the border pixels, so a mask
holds the outline as well as what it encloses: a square with corners (1, 1) and (4, 4) has 16
pixels, of which the even-odd rule alone would count 9.

    x   0 1 2 3 4 5
    y=1 . # # # # .      # drawn as a line
    y=2 . # o o # .      o found inside: two edges are crossed in this row, at x = 1 and x = 4
    y=3 . # o o # .
    y=4 . # # # # .
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from datamodules.ingest.archives.member import check_text_size
from datamodules.ingest.sources import SourceFile
from usererror import UserError

MAX_OUTLINES_BYTES = 1 << 30  # of a COCO file; it is read as a whole
LONGEST_SIDE = 1 << 14  # pixels; what is said to be larger is a mistake
Side = Annotated[int, Field(gt=0, le=LONGEST_SIDE)]
Points = NDArray[np.int64]  # (K, 2): x, y


class _RunLengthCode(BaseModel, strict=True):
    size: list[int]
    counts: str | list[int]


class _CocoImage(BaseModel, strict=True):
    id: int
    file_name: str
    height: Side
    width: Side


class _CocoRecord(BaseModel, strict=True):
    image_id: int
    segmentation: list[list[FiniteFloat]] | _RunLengthCode
    id: Any = None


class _CocoCategory(BaseModel, strict=True):
    name: Literal["building"]


class _CocoFile(BaseModel, strict=True):
    """What is needed of a file; other keys may be there."""

    images: list[_CocoImage]
    annotations: list[_CocoRecord]
    categories: list[_CocoCategory] = []


@dataclass
class Outlines:
    """All objects of one image."""

    where: str  # file and image, for error texts
    size: tuple[int, int]  # (height, width) in pixels
    rings: list[NDArray[np.int32]] = field(default_factory=list)  # corners of a part, (K, 2): x, y
    # lengths of alternating runs of zeros and ones, column by column
    runs: list[NDArray[np.int32]] = field(default_factory=list)

    def __repr__(self) -> str:
        """Return a digest that differs when the mask may differ, for the recipes of imports."""
        lengths = [list(map(len, self.rings)), list(map(len, self.runs))]
        digest = hashlib.sha256(repr((self.size, lengths)).encode())
        for part in (*self.rings, *self.runs):
            digest.update(part.tobytes())
        return f"Outlines({digest.hexdigest()})"


def rasterize_outlines(
    outlines: Outlines, raw: NDArray[Any]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw the mask of an image as a label, 1 inside any object; nothing in it is unknown.

    Of `raw`, (C, h, w), only the size matters.
    """
    size = raw.shape[1:]
    if size != outlines.size:
        said = f"{outlines.where} is said to have {outlines.size[0]} x {outlines.size[1]} pixels"
        has = f"the image has {size[0]} x {size[1]}"
        raise UserError(f"{said} (rows x columns), but {has}: they are not of the same copy.")
    mask = np.zeros(size, np.uint8)
    for ring in outlines.rings:
        fill_ring(mask, ring.astype(np.int64))
    for runs in outlines.runs:
        values = np.arange(len(runs), dtype=np.uint8) & 1
        mask |= np.repeat(values, runs).reshape(size[::-1]).T
    return mask, np.zeros(size, np.bool_)


def fill_ring(mask: NDArray[np.uint8], ring: Points) -> None:
    """Set to 1 the pixels on a ring (closed or not) and those it encloses by the even-odd rule.

    What lies outside of the mask is cut off. The rule gives the stored area of every polygon record
    of the real file that could be examined (dossier 5.4).

    Example:
        >>> mask = np.zeros((4, 5), np.uint8)
        >>> fill_ring(mask, np.array([[1, 0], [4, 0], [1, 3]]))
        >>> mask.tolist()
        [[0, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 1, 1, 0, 0], [0, 1, 0, 0, 0]]
    """
    if not len(ring):
        return
    height, width = mask.shape
    start, end = ring, np.roll(ring, -1, axis=0)
    x, y = _line_pixels(start, end)
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    mask[y[seen], x[seen]] = 1
    # inside: a row's pixels change sides at every edge crossed; the lower end of an edge is not
    # part of it, or a corner would be crossed twice
    first, last = np.clip([ring[:, 1].min(), ring[:, 1].max() + 1], 0, height)
    left, right = np.clip([ring[:, 0].min(), ring[:, 0].max() + 1], 0, width)
    upper, lower = _sorted_ends(start, end, axis=1)
    run, rise = (lower - upper).T
    edge, step = _steps_of_lines(rise)
    row = upper[edge, 1] + step
    # where the edge is in that row, rounded to the right
    column = upper[edge, 0] - (-run[edge] * step) // np.maximum(rise[edge], 1)
    seen = (row >= first) & (row < last)
    changes = np.zeros((last - first, right - left + 1), np.int64)
    np.add.at(changes, (row[seen] - first, np.clip(column[seen] - left, 0, right - left)), 1)
    # odd number of changes to the left: inside
    mask[first:last, left:right] |= (np.cumsum(changes, axis=1)[:, :-1] & 1).astype(np.uint8)


def _line_pixels(start: Points, end: Points) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels (x, y) of straight lines, one per step along the longer side."""
    start, end = _sorted_ends(start, end, axis=0)
    across, down = (end - start).T
    steep = abs(down) > across
    long, short = np.where(steep, abs(down), across), np.where(steep, across, abs(down))
    edge, step = _steps_of_lines(long + 1)
    twice = 2 * np.maximum(long, 1)[edge]
    # half a pixel rounds towards the left end, as the mask tools behind the real file do
    aside = -((twice // 2 - 2 * short[edge] * step) // twice)
    x = start[edge, 0] + np.where(steep[edge], aside, step)
    y = start[edge, 1] + np.sign(down)[edge] * np.where(steep[edge], step, aside)
    return x, y


def _sorted_ends(start: Points, end: Points, axis: int) -> tuple[Points, Points]:
    """Return the ends of lines, the one with the smaller coordinate on `axis` first."""
    swapped = (start[:, axis] > end[:, axis])[:, None]
    return np.where(swapped, end, start), np.where(swapped, start, end)


def _steps_of_lines(number: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for lines of `number` steps each: the line of every step, and its number within it."""
    line = np.repeat(np.arange(len(number)), number)
    return line, np.arange(len(line)) - np.repeat(np.cumsum(number) - number, number)


def read_outlines(file: SourceFile, scratch: Path) -> dict[str, Outlines]:
    """Read the outlines of a COCO file by the file name of their image, empty images included."""
    check_text_size(file.size, file.origin, MAX_OUTLINES_BYTES)
    try:
        content = _CocoFile.model_validate_json(file.extract(scratch).read_bytes())
    except ValidationError as error:
        # a shape is tried as rings and as a code: the error farthest inside is of what was meant
        first = max(error.errors(), key=lambda found: len(found["loc"]))
        where = ".".join(map(str, first["loc"])) or "it"
        found = "" if first["type"] == "json_invalid" else f", not {first['input']!r:.60}"
        text = f"{file.origin} is not whole or not the original: {where}: {first['msg']}{found}"
        raise UserError(f"{text}: replace it by a fresh copy.") from error
    by_id: dict[int, Outlines] = {}
    by_name: dict[str, Outlines] = {}
    for number, image in enumerate(content.images):
        name = image.file_name.replace("\\", "/").rpartition("/")[2]
        if image.id in by_id or name in by_name:
            twice = f"images.{number} ({name}, id {image.id})"
            raise UserError(f"{file.origin}: {twice}: its name or id occurs before.")
        size = image.height, image.width
        by_id[image.id] = by_name[name] = Outlines(f"{file.origin}: {name}", size)
    for number, record in enumerate(content.annotations):
        where = f"{file.origin}: annotations.{number} (id {record.id!r:.40})"
        if record.image_id not in by_id:
            raise UserError(f"{where} is of image {record.image_id}, which the file does not list.")
        _add_shape(by_id[record.image_id], record.segmentation, where)
    return by_name


def _add_shape(outlines: Outlines, shape: list[list[float]] | _RunLengthCode, where: str) -> None:
    size = outlines.size
    if isinstance(shape, _RunLengthCode):
        runs = unpack_runs(shape.counts) if isinstance(shape.counts, str) else shape.counts
        if shape.size != list(size):
            raise UserError(f"{where}: its code is for {shape.size} pixels, not {list(size)}.")
        if not runs or min(runs) < 0 or sum(runs) != size[0] * size[1]:
            raise UserError(f"{where}: the runs of its code do not fill {list(size)} pixels.")
        outlines.runs.append(np.array(runs, np.int32))
        return
    reach = 2 * max(size)
    for ring in shape:
        if len(ring) % 2:
            raise UserError(f"{where}: a ring must be x, y, x, y, ..., but one is {ring!r:.60}.")
        if ring and not (-reach <= min(ring) and max(ring) <= reach):
            values = f"{min(ring)} ... {max(ring)}"
            raise UserError(f"{where}: a corner lies far outside of the image: {values}.")
        if ring:
            outlines.rings.append(np.rint(ring).astype(np.int32).reshape(-1, 2))


def unpack_runs(text: str) -> list[int] | None:
    """Return the run lengths of a code packed as text, None when it is not one.

    Each number is written in groups of five bits, lowest first, one character (48 + group, + 32
    when more follow) each; the last group's bit 16 is the sign. From the fourth on, numbers are
    differences to the one two places before.

    Example:
        >>> unpack_runs("121O0")
        [1, 2, 1, 1, 1]
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        value = ord(character) - 48
        if not 0 <= value < 64:
            return None
        number |= (value & 31) << shift
        shift += 5
        if value & 32:
            continue
        if value & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    return runs if not shift else None
