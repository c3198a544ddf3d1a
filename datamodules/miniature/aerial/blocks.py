"""Fills the land between streets: gardens with houses, courtyards, slabs, trade, parks, building sites."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.miniature.aerial.canvas import CLUTTER, IMPERVIOUS, LOW_VEGETATION, Canvas
from datamodules.miniature.aerial.objects import (
    draw_weighted,
    paint_basin,
    paint_bed,
    paint_car,
    paint_container,
    paint_heap,
    paint_house,
    paint_repair,
    paint_shrubs,
)

LAWNS = (("lawn", 0.58), ("dry_lawn", 0.22), ("meadow", 0.20))
YARDS = (("paving", 0.45), ("asphalt", 0.25), ("brick", 0.14), ("mossy", 0.09), ("turf", 0.07))
Crown = tuple[float, float, float, float]  # u, v, radius, top: metres


@dataclass(frozen=True)
class Block:
    """A rectangle of the street frame in metres."""

    left: float
    right: float
    near: float
    far: float

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the block (u, v)."""
        return (self.left + self.right) / 2, (self.near + self.far) / 2

    @property
    def width(self) -> float:
        """Extent along u."""
        return self.right - self.left

    @property
    def depth(self) -> float:
        """Extent along v."""
        return self.far - self.near

    def shrink_by(self, by: float) -> Block:
        """Return the block without a rim of `by` metres."""
        return Block(self.left + by, self.right - by, self.near + by, self.far - by)

    def cut_pieces(self, piece: float) -> list[Block]:
        """Cut along v into equal pieces of about `piece` metres."""
        edges = np.linspace(self.near, self.far, max(1, round(self.depth / piece)) + 1)
        return [
            Block(self.left, self.right, float(a), float(b))
            for a, b in zip(edges, edges[1:], strict=False)
        ]


def paint_block(canvas: Canvas, block: Block) -> list[Crown]:
    """Fill `block` with one kind of settlement; return the crowns to be painted when everything else stands."""
    kinds = (
        (_gardens, 0.44),
        (_courtyard, 0.18),
        (_slabs, 0.16),
        (_trade, 0.10),
        (_park, 0.07),
        (_site, 0.05),
    )
    return draw_weighted(canvas, kinds)(canvas, block)


def _lawn(canvas: Canvas, block: Block) -> None:
    canvas.paint_slab(
        *block.centre, block.width, block.depth, LOW_VEGETATION, str(draw_weighted(canvas, LAWNS))
    )


def _yard(canvas: Canvas, u: float, v: float, w: float, h: float) -> None:
    canvas.paint_slab(u, v, w, h, IMPERVIOUS, str(draw_weighted(canvas, YARDS)))


def _crowns(canvas: Canvas, block: Block, number: float) -> list[Crown]:
    """Draw crowns at random places of a block, about `number` per 100 square metres."""
    rng = canvas.rng
    count = rng.poisson(number * block.width * block.depth / 100)
    return [
        (
            rng.uniform(block.left, block.right),
            rng.uniform(block.near, block.far),
            radius := rng.uniform(2.2, 4.5),
            float(np.clip(2.0 * radius + rng.normal(0.8, 1.0), 3.5, 10)),
        )
        for _ in range(count)
    ]


def _clutter(canvas: Canvas, u: float, v: float) -> None:
    """Put one thing that belongs to no class of interest at (u, v)."""
    rng, what = canvas.rng, canvas.rng.random()
    turn = float(rng.choice([0, np.pi / 2]) + rng.normal(0, 0.1))
    if what < 0.25:
        paint_basin(canvas, u, v, rng.uniform(6, 10), rng.uniform(4, 5.5), "pool", turn)
    elif what < 0.45:
        paint_basin(canvas, u, v, rng.uniform(6, 10), rng.uniform(5, 8), "water", turn)
    elif what < 0.65:
        paint_heap(canvas, u, v, rng.uniform(1.8, 3.5))
    elif what < 0.85:
        paint_container(canvas, u, v, turn)
    else:
        canvas.paint_slab(u, v, rng.uniform(6, 11), rng.uniform(5, 8), CLUTTER, "soil", 0.0, turn)


def _gardens(canvas: Canvas, block: Block) -> list[Crown]:
    """Two rows of parcels back to back, each with a house, a drive, a lawn, hedges and trees."""
    u = block.centre[0]
    crowns = []
    for half, street in (
        (Block(block.left, u, block.near, block.far), -1),
        (Block(u, block.right, block.near, block.far), 1),
    ):
        for parcel in half.cut_pieces(canvas.rng.uniform(14, 18)):
            crowns += _parcel(canvas, parcel, street)
    return crowns


def _parcel(canvas: Canvas, parcel: Block, street: int) -> list[Crown]:
    """One garden whose street lies on its left (`street` -1) or right (+1) side."""
    rng = canvas.rng
    _lawn(canvas, parcel)
    front = parcel.left if street < 0 else parcel.right

    def inwards(distance: float) -> float:
        return front - street * distance

    setback, depth = rng.uniform(2.5, 5), rng.uniform(9.5, 12)
    w = parcel.depth - rng.uniform(3.5, 5)
    drive = parcel.near + 1.7
    _yard(canvas, inwards(setback / 2 + 5), drive, setback + 10, 3.0)
    if canvas.chance_of(0.5):
        _yard(canvas, inwards(setback + depth + 1.5), parcel.centre[1] + 1, 3.0, rng.uniform(4, 7))
    middle = parcel.far - 0.8 - w / 2
    paint_house(
        canvas,
        inwards(setback + depth / 2),
        middle,
        depth,
        w,
        int(rng.integers(1, 4)),
        pitched=canvas.chance_of(0.7),
    )
    if canvas.chance_of(0.55):
        paint_house(canvas, inwards(setback + 9), drive, 6.0, 3.2, 1, pitched=False)
    if canvas.chance_of(0.6):
        paint_car(canvas, inwards(setback + 2.5), drive, rng.normal(0, 0.04))
    for v in (parcel.near, parcel.far):
        if canvas.chance_of(0.3):
            paint_shrubs(
                canvas,
                parcel.centre[0],
                v,
                parcel.width,
                rng.uniform(1.5, 2.2),
                rng.uniform(0.7, 1.6),
            )
    for _ in range(int(rng.integers(0, 3))):
        paint_shrubs(
            canvas,
            inwards(rng.uniform(1, 22)),
            rng.uniform(parcel.near, parcel.far),
            *rng.uniform(2.2, 5.5, 2),
            rng.uniform(0.4, 1.5),
        )
    if canvas.chance_of(0.7):
        _clutter(
            canvas,
            inwards(rng.uniform(setback + depth + 3, max(setback + depth + 4, parcel.width - 2))),
            rng.uniform(parcel.near + 3, parcel.far - 3),
        )
    return _crowns(canvas, parcel, 1.0)


def _courtyard(canvas: Canvas, block: Block) -> list[Crown]:
    """Houses wall to wall around a court with trees, cars and bins."""
    rng = canvas.rng
    canvas.paint_slab(
        *block.centre, block.width, block.depth, IMPERVIOUS, str(draw_weighted(canvas, YARDS))
    )
    deep, storeys = rng.uniform(9.5, 12), int(rng.integers(2, 5))
    court = block.shrink_by(deep)
    green = Block(
        court.left, court.right, court.near, court.near + court.depth * rng.uniform(0.6, 1.0)
    )
    _lawn(canvas, green)
    pitched = canvas.chance_of(0.6)
    for left in (block.left, block.right - deep):
        for piece in Block(left, left + deep, block.near, block.far).cut_pieces(
            rng.uniform(12, 18)
        ):
            if canvas.chance_of(0.88):
                paint_house(
                    canvas,
                    *piece.centre,
                    deep,
                    piece.depth,
                    max(1, storeys + int(rng.integers(-1, 2))),
                    pitched=pitched,
                )
    for v in (block.near + deep / 2, block.far - deep / 2):
        for u in np.arange(court.left, court.right - 6, 14):
            if canvas.chance_of(0.75):
                end = min(u + 14, court.right)
                paint_house(canvas, (u + end) / 2, v, end - u, deep, storeys, pitched=pitched)
    rest = Block(court.left, court.right, green.far, court.far)
    for u in np.arange(rest.left + 1.5, rest.right - 1.5, 2.7):
        if rest.depth > 5 and canvas.chance_of(0.5):
            paint_car(canvas, float(u), rest.far - 2.8, np.pi / 2)
    for _ in range(3):
        _clutter(
            canvas,
            rng.uniform(court.left + 2, court.right - 2),
            rng.uniform(court.near + 2, court.far - 2),
        )
    paint_shrubs(
        canvas, *green.centre, green.width * 0.6, rng.uniform(1, 2.5), rng.uniform(0.5, 1.4)
    )
    return _crowns(canvas, green, 1.3)


def _slabs(canvas: Canvas, block: Block) -> list[Crown]:
    """Long flats in the green, with car parks between them."""
    rng = canvas.rng
    _lawn(canvas, block)
    crowns = []
    for piece in block.cut_pieces(rng.uniform(22, 28)):
        v = piece.near + 6.5
        paint_house(
            canvas,
            piece.centre[0],
            v,
            piece.width - rng.uniform(2, 6),
            rng.uniform(10, 12.5),
            int(rng.integers(3, 5)),
            pitched=canvas.chance_of(0.25),
        )
        rest = Block(piece.left, piece.right, v + 7.5, piece.far)
        if canvas.chance_of(0.5) and rest.depth > 5:
            _parking(
                canvas,
                rest.left + 1,
                rest.left + 1 + rest.width * rng.uniform(0.4, 0.7),
                rest.near + 3.5,
            )
        paint_shrubs(
            canvas, piece.centre[0], v + 7.2, piece.width * 0.5, 1.3, rng.uniform(0.5, 1.3)
        )
        _clutter(canvas, rng.uniform(rest.left + 3, rest.right - 3), rest.far - 2.5)
        crowns += _crowns(canvas, rest, 1.5)
    return crowns


def _parking(canvas: Canvas, left: float, right: float, v: float) -> None:
    """One row of parking bays across v, with the lane that leads to it."""
    _yard(canvas, (left + right) / 2, v, right - left, 7.0)
    for u in np.arange(left + 1.4, right - 1.2, 2.7):
        at, turn = (
            (float(u) + canvas.rng.normal(0, 0.1), v - 1.0),
            np.pi / 2 + canvas.rng.normal(0, 0.03),
        )
        what = canvas.rng.random()
        if what < 0.72:
            (paint_car if what < 0.6 else paint_bed if what < 0.67 else paint_repair)(
                canvas, *at, turn
            )


def _trade(canvas: Canvas, block: Block) -> list[Crown]:
    """A hall with a flat roof, its car park, containers and a strip of green."""
    rng = canvas.rng
    _yard(canvas, *block.centre, block.width, block.depth)
    hall = block.depth * rng.uniform(0.42, 0.58)
    paint_house(
        canvas,
        block.centre[0],
        block.near + hall / 2 + 1,
        block.width - 5,
        hall,
        int(rng.integers(1, 3)),
        pitched=False,
    )
    for v in (block.near + hall + 7, block.near + hall + 17):
        if v < block.far - 4:
            _parking(canvas, block.left + 3, block.right - 9, v)
    for v in np.arange(block.near + hall + 6, block.far - 3, 5.5):
        _clutter(canvas, block.right - 5, float(v))
    green = Block(block.left, block.right, block.far - 4, block.far)
    _lawn(canvas, green)
    return _crowns(canvas, green, 2.0)


def _park(canvas: Canvas, block: Block) -> list[Crown]:
    """Lawns, paths, a green court, a pond, a pavilion, and many trees."""
    rng = canvas.rng
    for piece in block.cut_pieces(15):
        _lawn(canvas, piece)
    u, v = block.centre
    _yard(canvas, u + rng.uniform(-8, 8), v, 2.5, block.depth)
    canvas.paint_slab(u, block.far - 11, rng.uniform(18, 26), 14, IMPERVIOUS, "turf")
    paint_basin(
        canvas,
        u + rng.uniform(-9, 9),
        block.near + 12,
        rng.uniform(10, 16),
        rng.uniform(8, 12),
        "water",
        rng.uniform(0, 3),
    )
    paint_house(canvas, block.left + 8, v, 9, 7, 1, pitched=True)
    canvas.paint_slab(block.right - 6, v, 8, 8, CLUTTER, "soil")
    return _crowns(canvas, Block(block.left, block.right, block.near, block.far - 18), 1.3)


def _site(canvas: Canvas, block: Block) -> list[Crown]:
    """A building site: bare soil with heaps, containers and a half-built house."""
    rng = canvas.rng
    canvas.paint_slab(*block.centre, block.width, block.depth, CLUTTER, "soil")
    u, v = block.centre
    paint_house(
        canvas,
        u,
        v,
        rng.uniform(16, 22),
        rng.uniform(14, 20),
        int(rng.integers(1, 4)),
        pitched=False,
    )
    for _ in range(7):
        at = (
            rng.uniform(block.left + 4, block.right - 4),
            rng.uniform(block.near + 4, block.far - 4),
        )
        if canvas.chance_of(0.6):
            paint_heap(canvas, *at, rng.uniform(2, 4))
        else:
            paint_container(canvas, *at, float(rng.choice([0, np.pi / 2])))
    _yard(canvas, block.left + 3, v, 6, block.depth)
    green = Block(block.right - 12, block.right, block.near, block.far)
    _lawn(canvas, green)
    return _crowns(canvas, green, 1.5)
