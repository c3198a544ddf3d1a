"""Fills the land between streets: gardens, courtyards, slabs, trade, parks, building sites.

The order of random draws is part of the picture: published scenes depend on it.
"""

import numpy as np

from datamodules.miniature.aerial import objects
from datamodules.miniature.aerial.canvas import CLUTTER, IMPERVIOUS, LOW_VEGETATION, Block, Canvas

LAWNS = (("lawn", 0.58), ("dry_lawn", 0.22), ("meadow", 0.20))
YARDS = (("paving", 0.45), ("asphalt", 0.25), ("brick", 0.14), ("mossy", 0.09), ("turf", 0.07))
Crown = tuple[float, float, float, float]  # u, v, radius, top: metres


def paint_block(canvas: Canvas, block: Block) -> list[Crown]:
    """Fill a block with one kind of settlement; return the crowns, to be painted last of all."""
    kinds = (
        (_gardens, 0.44), (_courtyard, 0.18), (_slabs, 0.16), (_trade, 0.10), (_park, 0.07),
        (_site, 0.05),
    )  # fmt: skip
    return canvas.draw_weighted(kinds)(canvas, block)


def paint_lawn(canvas: Canvas, block: Block) -> None:
    """Cover a block with grass."""
    canvas.cover_block(block, LOW_VEGETATION, LAWNS)


def _yard(canvas: Canvas, u: float, v: float, w: float, h: float) -> None:
    canvas.paint_slab(u, v, w, h, IMPERVIOUS, canvas.draw_weighted(YARDS))


def _crowns(canvas: Canvas, block: Block, number: float) -> list[Crown]:
    """Draw crowns at random places of a block, about `number` per 100 square metres."""
    rng, crowns = canvas.rng, []
    for _ in range(rng.poisson(number * block.width * block.depth / 100)):
        u, v = rng.uniform(block.left, block.right), rng.uniform(block.near, block.far)
        radius = rng.uniform(2.2, 4.5)
        top = float(np.clip(2.0 * radius + rng.normal(0.8, 1.0), 3.5, 10))
        crowns.append((u, v, radius, top))
    return crowns


def _clutter(canvas: Canvas, u: float, v: float) -> None:
    """Put one thing that belongs to no class of interest at (u, v)."""
    rng, what = canvas.rng, canvas.rng.random()
    turn = float(rng.choice([0, np.pi / 2]) + rng.normal(0, 0.1))
    if what < 0.25:
        objects.paint_basin(canvas, u, v, rng.uniform(6, 10), rng.uniform(4, 5.5), "pool", turn)
    elif what < 0.45:
        objects.paint_basin(canvas, u, v, rng.uniform(6, 10), rng.uniform(5, 8), "water", turn)
    elif what < 0.65:
        objects.paint_heap(canvas, u, v, rng.uniform(1.8, 3.5))
    elif what < 0.85:
        objects.paint_container(canvas, u, v, turn)
    else:
        w, h = rng.uniform(6, 11), rng.uniform(5, 8)
        canvas.paint_slab(u, v, w, h, CLUTTER, "soil", 0.0, turn)


def _gardens(canvas: Canvas, block: Block) -> list[Crown]:
    """Two rows of parcels back to back, each with a house, a drive, a lawn, hedges and trees."""
    u = block.centre[0]
    near_half = Block(block.left, u, block.near, block.far)
    far_half = Block(u, block.right, block.near, block.far)
    crowns = []
    for half, street in ((near_half, -1), (far_half, 1)):
        for parcel in half.cut_pieces(canvas.rng.uniform(14, 18)):
            crowns += _parcel(canvas, parcel, street)
    return crowns


def _parcel(canvas: Canvas, parcel: Block, street: int) -> list[Crown]:
    """One garden whose street lies on its left (`street` -1) or right (+1) side."""
    rng = canvas.rng
    uniform = rng.uniform
    paint_lawn(canvas, parcel)
    # everything is placed by its distance from the street, so both rows share one plan
    front = parcel.left if street < 0 else parcel.right

    def inwards(distance: float) -> float:
        return front - street * distance

    setback, depth = uniform(2.5, 5), uniform(9.5, 12)
    back = setback + depth
    w = parcel.depth - uniform(3.5, 5)
    drive = parcel.near + 1.7
    _yard(canvas, inwards(setback / 2 + 5), drive, setback + 10, 3.0)
    if canvas.chance_of(0.5):
        _yard(canvas, inwards(back + 1.5), parcel.centre[1] + 1, 3.0, uniform(4, 7))
    u, v = inwards(setback + depth / 2), parcel.far - 0.8 - w / 2
    storeys, pitched = int(rng.integers(1, 4)), canvas.chance_of(0.7)
    objects.paint_house(canvas, u, v, depth, w, storeys, pitched=pitched)
    if canvas.chance_of(0.55):  # a garage
        objects.paint_house(canvas, inwards(setback + 9), drive, 6.0, 3.2, 1, pitched=False)
    if canvas.chance_of(0.6):
        objects.paint_car(canvas, inwards(setback + 2.5), drive, rng.normal(0, 0.04))
    for v in (parcel.near, parcel.far):
        if canvas.chance_of(0.3):
            h, top = uniform(1.5, 2.2), uniform(0.7, 1.6)
            objects.paint_shrubs(canvas, parcel.centre[0], v, parcel.width, h, top)
    for _ in range(int(rng.integers(0, 3))):
        u, v = inwards(uniform(1, 22)), uniform(parcel.near, parcel.far)
        w, h = uniform(2.2, 5.5, 2)
        objects.paint_shrubs(canvas, u, v, w, h, uniform(0.4, 1.5))
    if canvas.chance_of(0.7):
        u = inwards(uniform(back + 3, max(back + 4, parcel.width - 2)))
        _clutter(canvas, u, uniform(parcel.near + 3, parcel.far - 3))
    return _crowns(canvas, parcel, 1.0)


def _courtyard(canvas: Canvas, block: Block) -> list[Crown]:
    """Houses wall to wall around a court with trees, cars and bins."""
    rng = canvas.rng
    canvas.cover_block(block, IMPERVIOUS, YARDS)
    deep, storeys = rng.uniform(9.5, 12), int(rng.integers(2, 5))
    court = block.shrink_by(deep)
    green_end = court.near + court.depth * rng.uniform(0.6, 1.0)
    green = Block(court.left, court.right, court.near, green_end)
    paint_lawn(canvas, green)
    pitched = canvas.chance_of(0.6)
    # two closed rows along v, then what fits between them along u
    for left in (block.left, block.right - deep):
        side = Block(left, left + deep, block.near, block.far)
        for piece in side.cut_pieces(rng.uniform(12, 18)):
            if canvas.chance_of(0.88):
                u, v = piece.centre
                floors = max(1, storeys + int(rng.integers(-1, 2)))
                objects.paint_house(canvas, u, v, deep, piece.depth, floors, pitched=pitched)
    for v in (block.near + deep / 2, block.far - deep / 2):
        for u in np.arange(court.left, court.right - 6, 14):
            if canvas.chance_of(0.75):
                end = min(u + 14, court.right)
                objects.paint_house(
                    canvas, (u + end) / 2, v, end - u, deep, storeys, pitched=pitched
                )
    rest = Block(court.left, court.right, green.far, court.far)
    for u in np.arange(rest.left + 1.5, rest.right - 1.5, 2.7):
        if rest.depth > 5 and canvas.chance_of(0.5):
            objects.paint_car(canvas, float(u), rest.far - 2.8, np.pi / 2)
    for _ in range(3):
        u = rng.uniform(court.left + 2, court.right - 2)
        _clutter(canvas, u, rng.uniform(court.near + 2, court.far - 2))
    h, top = rng.uniform(1, 2.5), rng.uniform(0.5, 1.4)
    objects.paint_shrubs(canvas, *green.centre, green.width * 0.6, h, top)
    return _crowns(canvas, green, 1.3)


def _slabs(canvas: Canvas, block: Block) -> list[Crown]:
    """Long flats in the green, with car parks between them."""
    rng = canvas.rng
    paint_lawn(canvas, block)
    crowns = []
    for piece in block.cut_pieces(rng.uniform(22, 28)):
        u, v = piece.centre[0], piece.near + 6.5
        w, h = piece.width - rng.uniform(2, 6), rng.uniform(10, 12.5)
        storeys, pitched = int(rng.integers(3, 5)), canvas.chance_of(0.25)
        objects.paint_house(canvas, u, v, w, h, storeys, pitched=pitched)
        rest = Block(piece.left, piece.right, v + 7.5, piece.far)
        if canvas.chance_of(0.5) and rest.depth > 5:
            left = rest.left + 1
            right = left + rest.width * rng.uniform(0.4, 0.7)
            _parking(canvas, left, right, rest.near + 3.5)
        objects.paint_shrubs(canvas, u, v + 7.2, piece.width * 0.5, 1.3, rng.uniform(0.5, 1.3))
        _clutter(canvas, rng.uniform(rest.left + 3, rest.right - 3), rest.far - 2.5)
        crowns += _crowns(canvas, rest, 1.5)
    return crowns


def _parking(canvas: Canvas, left: float, right: float, v: float) -> None:
    """One row of parking bays across v, with the lane that leads to it."""
    rng = canvas.rng
    _yard(canvas, (left + right) / 2, v, right - left, 7.0)
    for u in np.arange(left + 1.4, right - 1.2, 2.7):
        at = float(u) + rng.normal(0, 0.1)
        turn, what = np.pi / 2 + rng.normal(0, 0.03), rng.random()
        # some bays hold what is a car to one sensor only
        if what < 0.6:
            objects.paint_car(canvas, at, v - 1.0, turn)
        elif what < 0.67:
            objects.paint_bed(canvas, at, v - 1.0, turn)
        elif what < 0.72:
            objects.paint_repair(canvas, at, v - 1.0, turn)


def _trade(canvas: Canvas, block: Block) -> list[Crown]:
    """A hall with a flat roof, its car park, containers and a strip of green."""
    rng, u = canvas.rng, block.centre[0]
    _yard(canvas, *block.centre, block.width, block.depth)
    hall = block.depth * rng.uniform(0.42, 0.58)
    v, storeys = block.near + hall / 2 + 1, int(rng.integers(1, 3))
    objects.paint_house(canvas, u, v, block.width - 5, hall, storeys, pitched=False)
    for v in (block.near + hall + 7, block.near + hall + 17):
        if v < block.far - 4:
            _parking(canvas, block.left + 3, block.right - 9, v)
    for v in np.arange(block.near + hall + 6, block.far - 3, 5.5):
        _clutter(canvas, block.right - 5, float(v))
    green = Block(block.left, block.right, block.far - 4, block.far)
    paint_lawn(canvas, green)
    return _crowns(canvas, green, 2.0)


def _park(canvas: Canvas, block: Block) -> list[Crown]:
    """Lawns, paths, a green court, a pond, a pavilion, and many trees."""
    uniform = canvas.rng.uniform
    # several lawns, each of another green
    for piece in block.cut_pieces(15):
        paint_lawn(canvas, piece)
    u, v = block.centre
    _yard(canvas, u + uniform(-8, 8), v, 2.5, block.depth)
    # artificial turf: green to the eye, impervious to near infrared
    canvas.paint_slab(u, block.far - 11, uniform(18, 26), 14, IMPERVIOUS, "turf")
    pond, w, h, turn = u + uniform(-9, 9), uniform(10, 16), uniform(8, 12), uniform(0, 3)
    objects.paint_basin(canvas, pond, block.near + 12, w, h, "water", turn)
    objects.paint_house(canvas, block.left + 8, v, 9, 7, 1, pitched=True)
    canvas.paint_slab(block.right - 6, v, 8, 8, CLUTTER, "soil")
    return _crowns(canvas, Block(block.left, block.right, block.near, block.far - 18), 1.3)


def _site(canvas: Canvas, block: Block) -> list[Crown]:
    """A building site: bare soil with heaps, containers and a half-built house."""
    rng = canvas.rng
    canvas.paint_slab(*block.centre, block.width, block.depth, CLUTTER, "soil")
    u, v = block.centre
    w, h, storeys = rng.uniform(16, 22), rng.uniform(14, 20), int(rng.integers(1, 4))
    objects.paint_house(canvas, u, v, w, h, storeys, pitched=False)
    inner = block.shrink_by(4)
    for _ in range(7):
        at = rng.uniform(inner.left, inner.right), rng.uniform(inner.near, inner.far)
        if canvas.chance_of(0.6):
            objects.paint_heap(canvas, *at, rng.uniform(2, 4))
        else:
            objects.paint_container(canvas, *at, float(rng.choice([0, np.pi / 2])))
    _yard(canvas, block.left + 3, v, 6, block.depth)
    green = Block(block.right - 12, block.right, block.near, block.far)
    paint_lawn(canvas, green)
    return _crowns(canvas, green, 1.5)
