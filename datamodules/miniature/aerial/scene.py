"""Paints what is on the ground: classes, heights and materials of a German suburb from above."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial import objects
from datamodules.miniature.aerial.blocks import Crown, paint_block
from datamodules.miniature.aerial.canvas import IMPERVIOUS, LOW_VEGETATION, Block, Canvas

STREETS = (("asphalt", 0.7), ("paving", 0.2), ("brick", 0.1))
FOOTWAYS = (("paving", 0.6), ("asphalt", 0.2), ("mossy", 0.1), ("brick", 0.1))
LOOKALIKES = objects.paint_car, objects.paint_bed, objects.paint_repair
Intervals = list[tuple[float, float]]  # of street blocks, in m


@dataclass(frozen=True)
class Scene:
    """A square of ground as it really is.

    `(H, W)`: `label` (ISPRS ids), `height` (m above ground), `material` (index into `MATERIALS`);
    `(4, H, W)`: `reflectance` (counts in even light: red, green, blue, near infrared).
    """

    gsd: float
    label: NDArray[np.uint8]
    height: NDArray[np.float32]
    material: NDArray[np.uint8]
    reflectance: NDArray[np.float32]

    def cut(self, rows: slice, columns: slice) -> Scene:
        """Return a copy of a part."""
        label, height = self.label[rows, columns].copy(), self.height[rows, columns].copy()
        material = self.material[rows, columns].copy()
        return Scene(self.gsd, label, height, material, self.reflectance[:, rows, columns].copy())


def paint_scene(size: int, gsd: float, rng: np.random.Generator) -> Scene:
    """Paint one scene of `size` x `size` pixels of `gsd` metres.

    Example:
        >>> scene = paint_scene(32, 0.25, np.random.default_rng(0))
        >>> scene.label.shape, bool((scene.label < 6).all())
        ((32, 32), True)
    """
    canvas = Canvas(size, gsd, float(rng.uniform(-0.6, 0.6)), rng)
    reach = canvas.reach
    # blocks of a turned grid of streets; the canvas shows the part that fits
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
        objects.paint_tree(canvas, u, v, radius, top)
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


def _streets(intervals: Intervals) -> Intervals:
    """Return the gaps between neighbouring blocks."""
    return [(start, end) for (_, start), (end, _) in pairwise(intervals)]


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
        objects.paint_shrubs(canvas, block.left + 0.9, v, 1.6, block.depth / 2, top)
    return trees


def _parked_cars(canvas: Canvas, columns: Intervals, rows: Intervals) -> None:
    """Park cars along both kerbs of every street, and what is a car to one sensor only."""
    rng, reach = canvas.rng, canvas.reach
    for intervals, heading in ((columns, np.pi / 2), (rows, 0.0)):
        for start, end in _streets(intervals):
            density = rng.uniform(0.08, 0.45)
            places = product((start + 1.15, end - 1.15), np.arange(-reach, reach, 5.8))
            for kerb, along in places:
                across, along = kerb + rng.normal(0, 0.08), along + rng.normal(0, 0.3)
                u, v = (across, along) if heading else (along, across)
                # the bed has a car's height, the repair its colour: neither sensor decides alone
                what = rng.random()
                for share, paint in zip((density, 0.04, 0.04), LOOKALIKES, strict=True):
                    if 0 <= what < share:
                        paint(canvas, u, v, heading + rng.normal(0, 0.03))
                    what -= share
