"""Outlines of objects in a COCO file, and their mask (dataset dossier, sections 5.4 and 12.3).

A record's shape is a list of rings, each a part of the object and never a hole, or a run-length code that counts down
the columns. Rings go through the centres of the border pixels, so a mask holds the outline as well as what it encloses.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.ingest.sources import SourceFile
from usererror import UserError

CATEGORY = "building"
LONGEST_SIDE = 1 << 14  # pixels; what is said to be larger is a mistake


@dataclass(frozen=True)
class Outlines:
    """All objects of one image, packed so that they travel to another process quickly.

    `where` names file and image for error texts; `size` is (height, width) in pixels. `points` holds the corners (x, y)
    of all rings (N x 2 int32), `rings` the number of corners of each ring, `runs` the lengths of alternating runs of
    zeros and ones of each run-length code, column by column. The text form is a digest, for import recipes.
    """

    where: str
    size: tuple[int, int]
    points: NDArray[np.int32]
    rings: NDArray[np.int32]
    runs: tuple[NDArray[np.int32], ...] = ()

    def __repr__(self) -> str:
        """Return a short text that differs when the mask may differ."""
        digest = hashlib.sha256(
            repr((self.size, len(self.rings), [len(r) for r in self.runs])).encode()
        )
        for part in (self.points, self.rings, *self.runs):
            digest.update(np.ascontiguousarray(part).tobytes())
        return f"Outlines({digest.hexdigest()})"


@dataclass
class _Picture:
    """An image of the file while its records are being collected."""

    where: str
    size: tuple[int, int]
    points: list[int] = field(default_factory=list)
    rings: list[int] = field(default_factory=list)
    runs: list[NDArray[np.int32]] = field(default_factory=list)

    def packed(self) -> Outlines:
        points = np.array(self.points, np.int32).reshape(-1, 2)
        return Outlines(
            self.where, self.size, points, np.array(self.rings, np.int32), tuple(self.runs)
        )


def burn(outlines: Outlines, raw: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the mask of an image as a label (h x w, 1 inside any object) and that nothing in it is unknown.

    Args:
        outlines: of the image.
        raw: C x h x w pixels of the image; only their number matters.

    Raises:
        UserError: the image has another size than the outlines were drawn for.
    """
    size = raw.shape[1:]
    if size != outlines.size:
        raise UserError(
            f"{outlines.where} is said to have {outlines.size[0]} x {outlines.size[1]} pixels (rows x columns), but "
            f"the image has {size[0]} x {size[1]}: outlines and images are not of the same copy."
        )
    mask = np.zeros(size, np.uint8)
    for ring in np.split(outlines.points.astype(np.int64), np.cumsum(outlines.rings)[:-1]):
        fill(mask, ring)
    for runs in outlines.runs:
        values = np.arange(len(runs), dtype=np.uint8) & 1
        mask |= np.repeat(values, runs).reshape(size[::-1]).T
    return mask, np.zeros(size, np.bool_)


def fill(mask: NDArray[np.uint8], ring: NDArray[np.int64]) -> None:
    """Set to 1 the pixels on a ring (K x 2 corners x, y; closed or not) and those it encloses by the even-odd rule.

    What lies outside of the mask is cut off. The rule gives the stored area of every polygon record of the real file
    that could be examined (dossier 5.4).
    """
    if not len(ring):
        return
    height, width = mask.shape
    start, end = ring, np.roll(ring, -1, axis=0)
    x, y = _line(start, end)
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    mask[y[seen], x[seen]] = 1
    # inside: a row's pixels change sides at every edge crossed, the lower end of an edge not being part of it
    first, last = np.clip([ring[:, 1].min(), ring[:, 1].max() + 1], 0, height)
    left, right = np.clip([ring[:, 0].min(), ring[:, 0].max() + 1], 0, width)
    upper, lower = _ordered(start, end, axis=1)
    run, rise = (lower - upper).T
    edge, step = _counted(rise)
    row = upper[edge, 1] + step
    column = upper[edge, 0] - (-run[edge] * step) // np.maximum(
        rise[edge], 1
    )  # rounded to the right
    seen = (row >= first) & (row < last)
    changes = np.zeros((last - first, right - left + 1), np.int64)
    np.add.at(changes, (row[seen] - first, np.clip(column[seen] - left, 0, right - left)), 1)
    mask[first:last, left:right] |= (np.cumsum(changes, axis=1)[:, :-1] & 1).astype(np.uint8)


def _line(
    start: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels (x, y) of straight lines, one per step along the longer side, from the left end to the right.

    Half a pixel rounds towards the left end's row or column, as the mask tools behind the real file do.
    """
    start, end = _ordered(start, end, axis=0)
    across, down = (end - start).T
    steep = abs(down) > across
    long, short = np.where(steep, abs(down), across), np.where(steep, across, abs(down))
    edge, step = _counted(long + 1)
    twice = 2 * np.maximum(long, 1)[edge]
    aside = -((twice // 2 - 2 * short[edge] * step) // twice)
    x = start[edge, 0] + np.where(steep[edge], aside, step)
    y = start[edge, 1] + np.sign(down)[edge] * np.where(steep[edge], step, aside)
    return x, y


def _ordered(
    start: NDArray[np.int64], end: NDArray[np.int64], axis: int
) -> tuple[NDArray[np.int64], ...]:
    """Return the ends of lines (K x 2 each), the one with the smaller coordinate on `axis` first."""
    swapped = (start[:, axis] > end[:, axis])[:, None]
    return np.where(swapped, end, start), np.where(swapped, start, end)


def _counted(number: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for lines of `number` steps each: which line a step belongs to, and its number within the line."""
    line = np.repeat(np.arange(len(number)), number)
    return line, np.arange(len(line)) - np.repeat(np.cumsum(number) - number, number)


def read_outlines(file: SourceFile, scratch: Path) -> dict[str, Outlines]:
    """Return the outlines of a COCO file by the file name of their image, images without any included.

    Args:
        file: the JSON.
        scratch: where it may be unpacked to.

    Raises:
        UserError: the file is cut short, lacks a key or holds values of another kind; it names file and record.
    """
    with _no_garbage_collection():
        try:
            content = json.loads(file.extract(scratch).read_bytes(), parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{file.origin} is not whole JSON ({error}): replace it by a fresh copy."
            ) from error
        images = content.get("images") if isinstance(content, dict) else None
        records = content.get("annotations") if isinstance(content, dict) else None
        if not isinstance(images, list) or not isinstance(records, list):
            raise UserError(
                f"{file.origin} lacks the lists `images` and `annotations`: is this the original file?"
            )
        _check_categories(content.get("categories", []), file.origin)
        pictures = _pictures(images, file.origin)
        for number, record in enumerate(records):
            _collect(record, number, pictures, file.origin)
        return {name: picture.packed() for name, picture in pictures.values()}


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Millions of small lists, none of them garbage: looking through them again and again takes longer than reading."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _check_categories(categories: Any, origin: str) -> None:
    if not isinstance(categories, list):
        raise UserError(f"{origin}: 'categories' is {categories!r:.40}, which is no list.")
    for category in categories:
        name = category.get("name") if isinstance(category, dict) else category
        if name != CATEGORY:
            raise UserError(
                f"{origin} has the category {name!r:.40}: it should hold nothing but {CATEGORY}s."
            )


def _pictures(images: list[Any], origin: str) -> dict[int, tuple[str, _Picture]]:
    """Return {image id: (file name, image)}; records refer to images by their id alone."""
    pictures: dict[int, tuple[str, _Picture]] = {}
    names = set()
    for number, image in enumerate(images):
        where = f"{origin}: image number {number}"
        id_, name = _key(image, "id", int, where), _key(image, "file_name", str, where)
        size = _key(image, "height", int, where), _key(image, "width", int, where)
        name = name.replace("\\", "/").rpartition("/")[2]
        if id_ in pictures or name in names:
            raise UserError(
                f"{where} ({name}, id {id_}): its name or id occurs before; they must be unique."
            )
        if not all(0 < side <= LONGEST_SIDE for side in size):
            raise UserError(f"{where} ({name}): a size of {size[0]} x {size[1]} pixels cannot be.")
        names.add(name)
        pictures[id_] = name, _Picture(f"{origin}: {name}", size)
    return pictures


def _collect(
    record: Any, number: int, pictures: dict[int, tuple[str, _Picture]], origin: str
) -> None:
    """Add one record to its image."""
    where = f"{origin}: annotation number {number}"
    if isinstance(record, dict) and "id" in record:
        where += f" (id {record['id']!r:.40})"
    image = _key(record, "image_id", int, where)
    if image not in pictures:
        raise UserError(f"{where} is of image {image}, which the file does not list.")
    picture = pictures[image][1]
    shape = _key(record, "segmentation", (list, dict), where)
    if isinstance(shape, dict):
        picture.runs.append(_runs(shape, picture.size, where))
        return
    reach = 2 * max(picture.size)
    for ring in shape:
        if not isinstance(ring, list) or not set(map(type, ring)) <= {int, float} or len(ring) % 2:
            raise UserError(
                f"{where}: a ring must be a list of numbers x, y, x, y, ..., but one is {ring!r:.60}."
            )
        if not ring:
            continue
        if not (-reach <= min(ring) and max(ring) <= reach):
            raise UserError(
                f"{where}: a corner lies far outside of the image: {min(ring)} ... {max(ring)}."
            )
        picture.points += map(round, ring)
        picture.rings.append(len(ring) // 2)


def _key(item: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(item, dict) or key not in item:
        raise UserError(f"{where} lacks {key!r}: {item!r:.80}.")
    if not isinstance(item[key], kind) or isinstance(item[key], bool):
        raise UserError(f"{where}: {key!r} is {item[key]!r:.40}, which is of the wrong type.")
    return item[key]


def _runs(shape: dict[str, Any], size: tuple[int, int], where: str) -> NDArray[np.int32]:
    """Return the run lengths of a code, packed as text or not; they must fill the image exactly."""
    if shape.get("size") != list(size):
        raise UserError(
            f"{where}: its code is for {shape.get('size')!r:.40} pixels, not {list(size)}."
        )
    counts = shape.get("counts")
    runs = _unpack(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not set(map(type, runs)) <= {int}:
        raise UserError(f"{where}: 'counts' is {counts!r:.40}, which is no run-length code.")
    if sum(runs) != size[0] * size[1] or min(runs) < 0:
        raise UserError(f"{where}: the runs of its code do not fill {size[0]} x {size[1]} pixels.")
    return np.array(runs, np.int32)


def _unpack(text: str) -> list[int] | None:
    """Return the run lengths of a code packed as text, None when it is not one.

    Each number is written in groups of five bits, lowest first, one character (48 + group, + 32 when more follow) each;
    the last group's bit 16 is the sign. From the fourth on, numbers are differences to the one two places before.
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
