"""Paints what is on the ground: classes, heights and materials of a German suburb seen from above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial.blocks import Block, paint_block
from datamodules.miniature.aerial.canvas import IMPERVIOUS, LOW_VEGETATION, Canvas
from datamodules.miniature.aerial.objects import (
    draw_weighted,
    paint_bed,
    paint_car,
    paint_repair,
    paint_shrubs,
    paint_tree,
)

STREETS = (("asphalt", 0.7), ("paving", 0.2), ("brick", 0.1))
FOOTWAYS = (("paving", 0.6), ("asphalt", 0.2), ("mossy", 0.1), ("brick", 0.1))


@dataclass(frozen=True)
class Scene:
    """A square of ground as it really is.

    `label` H x W uint8 (ISPRS ids), `height` H x W float32 (m above ground), `material` H x W uint8 (index into
    `MATERIALS`), `reflectance` 4 x H x W float32 (counts in even light: red, green, blue, near infrared).
    """

    gsd: float
    label: NDArray[np.uint8]
    height: NDArray[np.float32]
    material: NDArray[np.uint8]
    reflectance: NDArray[np.float32]


def paint_scene(size: int, gsd: float, rng: np.random.Generator) -> Scene:
    """Paint one scene of `size` x `size` pixels of `gsd` metres: streets, then blocks, then parked cars, then trees."""
    canvas = Canvas(size, gsd, float(rng.uniform(-0.6, 0.6)), rng)
    reach = canvas.reach
    columns, rows = _intervals(canvas, 40, 52), _intervals(canvas, 46, 68)
    canvas.paint_slab(0, 0, 2 * reach, 2 * reach, IMPERVIOUS, "asphalt")
    _carriageways(canvas, columns, rows)
    trees: list[tuple[float, float, float, float]] = []
    for left, right in columns:
        for near, far in rows:
            trees += _footway(canvas, Block(left, right, near, far))
            block = Block(left, right, near, far).shrink_by(canvas.rng.uniform(1.2, 1.8))
            trees += paint_block(canvas, block)
    _parked_cars(canvas, columns, rows)
    for u, v, radius, top in trees:
        paint_tree(canvas, u, v, radius, top)
    return Scene(gsd, canvas.label, canvas.height, canvas.material, canvas.reflectance)


def _intervals(canvas: Canvas, shortest: float, longest: float) -> list[tuple[float, float]]:
    """Cut the frame's width into blocks (start, end in m) with carriageways of 5.2-7 m between them."""
    intervals = []
    position = -canvas.reach - canvas.rng.uniform(0, longest)
    while position < canvas.reach:
        length = canvas.rng.uniform(shortest, longest)
        intervals.append((position, position + length))
        position += length + canvas.rng.uniform(5.2, 7.0)
    return intervals


def _carriageways(
    canvas: Canvas, columns: list[tuple[float, float]], rows: list[tuple[float, float]]
) -> None:
    """Give each street its own surface; crossings keep the surface of the street painted last."""
    reach = canvas.reach
    for (_, start), (end, _) in zip(columns, columns[1:], strict=False):
        canvas.paint_slab(
            (start + end) / 2,
            0,
            end - start,
            2 * reach,
            IMPERVIOUS,
            str(draw_weighted(canvas, STREETS)),
        )
    for (_, start), (end, _) in zip(rows, rows[1:], strict=False):
        canvas.paint_slab(
            0,
            (start + end) / 2,
            2 * reach,
            end - start,
            IMPERVIOUS,
            str(draw_weighted(canvas, STREETS)),
        )


def _footway(canvas: Canvas, block: Block) -> list[tuple[float, float, float, float]]:
    """Pave the rim of a block, sometimes with a green strip at the kerb, and plant street trees; return the trees."""
    rng = canvas.rng
    canvas.paint_slab(
        *block.centre, block.width, block.depth, IMPERVIOUS, str(draw_weighted(canvas, FOOTWAYS))
    )
    if canvas.chance_of(0.2):
        canvas.paint_slab(
            block.right - 1.2, block.centre[1], 2.4, block.depth - 4, LOW_VEGETATION, "meadow"
        )
    trees = []
    for side in (block.left, block.right):
        if canvas.chance_of(0.45):
            spacing, top = rng.uniform(7, 12), rng.uniform(5, 10)
            for v in np.arange(block.near + 4, block.far - 4, spacing):
                trees.append(
                    (
                        side + rng.normal(0, 0.4),
                        float(v),
                        rng.uniform(2.2, 3.6),
                        top * rng.uniform(0.8, 1.2),
                    )
                )
    if canvas.chance_of(0.1):
        paint_shrubs(
            canvas, block.left + 0.9, block.centre[1], 1.6, block.depth / 2, rng.uniform(0.5, 1.2)
        )
    return trees


def _parked_cars(
    canvas: Canvas, columns: list[tuple[float, float]], rows: list[tuple[float, float]]
) -> None:
    """Park cars along both kerbs of every street, and drive a few along it."""
    reach = canvas.reach
    for intervals, turn in ((columns, np.pi / 2), (rows, 0.0)):
        for (_, start), (end, _) in zip(intervals, intervals[1:], strict=False):
            density = canvas.rng.uniform(0.08, 0.45)
            for kerb in (start + 1.15, end - 1.15):
                for along in np.arange(-reach, reach, 5.8):
                    place = (kerb + canvas.rng.normal(0, 0.08), along + canvas.rng.normal(0, 0.3))
                    u, v = place if turn else place[::-1]
                    what = canvas.rng.random()
                    for share, paint in (
                        (density, paint_car),
                        (0.04, paint_bed),
                        (0.04, paint_repair),
                    ):
                        if 0 <= what < share:
                            paint(canvas, u, v, turn + canvas.rng.normal(0, 0.03))
                        what -= share
