"""Paints what is on the ground: classes, heights and materials of a German suburb from above."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial.blocks import Crown, paint_block
from datamodules.miniature.aerial.canvas import IMPERVIOUS, LOW_VEGETATION, Block, Canvas
from datamodules.miniature.aerial.objects import (
    paint_bed,
    paint_car,
    paint_repair,
    paint_shrubs,
    paint_tree,
)

STREETS = (("asphalt", 0.7), ("paving", 0.2), ("brick", 0.1))
FOOTWAYS = (("paving", 0.6), ("asphalt", 0.2), ("mossy", 0.1), ("brick", 0.1))
Intervals = list[tuple[float, float]]  # of street blocks, in m


@dataclass(frozen=True)
class Scene:
    """A square of ground as it really is.

    Attributes:
        gsd: metres per pixel.
        label: uint8 `(H, W)`, ISPRS ids.
        height: float32 `(H, W)`, metres above ground.
        material: uint8 `(H, W)`, index into `MATERIALS`.
        reflectance: float32 `(4, H, W)`, counts in even light: red, green, blue, near infrared.
    """

    gsd: float
    label: NDArray[np.uint8]
    height: NDArray[np.float32]
    material: NDArray[np.uint8]
    reflectance: NDArray[np.float32]


def paint_scene(size: int, gsd: float, rng: np.random.Generator) -> Scene:
    """Paint one scene of `size` x `size` pixels of `gsd` metres.

    Example:
        >>> scene = paint_scene(32, 0.25, np.random.default_rng(0))
        >>> scene.label.shape, bool((scene.label < 6).all())
        ((32, 32), True)
    """
    canvas = Canvas(size, gsd, float(rng.uniform(-0.6, 0.6)), rng)
    reach = canvas.reach
    columns, rows = _draw_intervals(canvas, 40, 52), _draw_intervals(canvas, 46, 68)
    canvas.paint_slab(0, 0, 2 * reach, 2 * reach, IMPERVIOUS, "asphalt")
    _carriageways(canvas, columns, rows)
    trees: list[Crown] = []
    for left, right in columns:
        for near, far in rows:
            block = Block(left, right, near, far)
            trees += _footway(canvas, block)
            trees += paint_block(canvas, block.shrink_by(canvas.rng.uniform(1.2, 1.8)))
    _parked_cars(canvas, columns, rows)
    # crowns hide what is below them, so they come last
    for u, v, radius, top in trees:
        paint_tree(canvas, u, v, radius, top)
    return Scene(gsd, canvas.label, canvas.height, canvas.material, canvas.reflectance)


def _draw_intervals(canvas: Canvas, shortest: float, longest: float) -> Intervals:
    """Cut the frame's width into blocks with carriageways of 5.2-7 m between them."""
    intervals = []
    position = -canvas.reach - canvas.rng.uniform(0, longest)
    while position < canvas.reach:
        length = canvas.rng.uniform(shortest, longest)
        intervals.append((position, position + length))
        position += length + canvas.rng.uniform(5.2, 7.0)
    return intervals


def _streets(intervals: Intervals) -> Iterator[tuple[float, float]]:
    """Yield the gaps between neighbouring blocks."""
    for (_, start), (end, _) in pairwise(intervals):
        yield start, end


def _carriageways(canvas: Canvas, columns: Intervals, rows: Intervals) -> None:
    """Give each street its own surface; crossings keep that of the street painted last."""
    reach = canvas.reach
    for start, end in _streets(columns):
        canvas.cover_block(Block(start, end, -reach, reach), IMPERVIOUS, STREETS)
    for start, end in _streets(rows):
        canvas.cover_block(Block(-reach, reach, start, end), IMPERVIOUS, STREETS)


def _footway(canvas: Canvas, block: Block) -> list[Crown]:
    """Pave the rim of a block, sometimes with a green strip at the kerb; return street trees."""
    rng, v = canvas.rng, block.centre[1]
    canvas.cover_block(block, IMPERVIOUS, FOOTWAYS)
    if canvas.chance_of(0.2):
        u, h = block.right - 1.2, block.depth - 4
        canvas.paint_slab(u, v, 2.4, h, LOW_VEGETATION, "meadow")
    trees = []
    for side in (block.left, block.right):
        if canvas.chance_of(0.45):
            spacing, top = rng.uniform(7, 12), rng.uniform(5, 10)
            for along in np.arange(block.near + 4, block.far - 4, spacing):
                u, radius = side + rng.normal(0, 0.4), rng.uniform(2.2, 3.6)
                trees.append((u, float(along), radius, top * rng.uniform(0.8, 1.2)))
    if canvas.chance_of(0.1):
        top = rng.uniform(0.5, 1.2)
        paint_shrubs(canvas, block.left + 0.9, v, 1.6, block.depth / 2, top)
    return trees


def _parked_cars(canvas: Canvas, columns: Intervals, rows: Intervals) -> None:
    """Park cars along both kerbs of every street, and what is a car to one sensor only."""
    for start, end in _streets(columns):
        for kerb, along, density in _parking_places(canvas, start, end):
            _park(canvas, kerb, along, np.pi / 2, density)
    for start, end in _streets(rows):
        for kerb, along, density in _parking_places(canvas, start, end):
            _park(canvas, along, kerb, 0.0, density)


def _parking_places(
    canvas: Canvas, start: float, end: float
) -> Iterator[tuple[float, float, float]]:
    """Yield places (across, along) of a street, and how many of its places are taken."""
    rng, reach = canvas.rng, canvas.reach
    density = rng.uniform(0.08, 0.45)
    for kerb in (start + 1.15, end - 1.15):
        for along in np.arange(-reach, reach, 5.8):
            yield kerb + rng.normal(0, 0.08), along + rng.normal(0, 0.3), density


def _park(canvas: Canvas, u: float, v: float, heading: float, density: float) -> None:
    what = canvas.rng.random()
    for share, paint in ((density, paint_car), (0.04, paint_bed), (0.04, paint_repair)):
        if 0 <= what < share:
            paint(canvas, u, v, heading + canvas.rng.normal(0, 0.03))
        what -= share
