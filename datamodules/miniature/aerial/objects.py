"""What a suburb consists of: houses, trees, hedges, cars, and what counts as clutter."""

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial import canvas as kinds
from datamodules.miniature.aerial.canvas import Canvas

FLAT_ROOFS = (("bitumen", 0.58), ("gravel", 0.32), ("metal", 0.10))
PITCHED_ROOFS = (("tile", 0.60), ("bitumen", 0.33), ("metal", 0.02), ("gravel", 0.05))
LACQUERS = (
    ((226, 228, 230, 180), 0.34), ((184, 188, 194, 150), 0.20), ((62, 66, 78, 62), 0.06),
    ((34, 36, 42, 36), 0.14), ((158, 40, 38, 124), 0.13), ((40, 66, 146, 80), 0.13),
)  # fmt: skip
CONTAINERS = (
    ((64, 84, 116, 84), 1.0), ((132, 78, 58, 108), 1.0), ((84, 104, 80, 78), 1.0),
    ((150, 150, 146, 120), 1.0),
)  # fmt: skip


def paint_house(
    canvas: Canvas, u: float, v: float, w: float, h: float, storeys: int, *, pitched: bool
) -> None:
    """Paint a building of w x h metres; a pitched roof is a gable or hip along the longer side."""
    rng = canvas.rng
    patch = canvas.patch_at(u, v, w, h)
    # drawn before it is known whether the house can be seen: what stands elsewhere must not change
    eaves = 2.9 * storeys + rng.uniform(0.1, 0.6)
    material = canvas.draw_weighted(PITCHED_ROOFS if pitched else FLAT_ROOFS)
    tint = canvas.draw_tint(material)
    pitch, hip = rng.uniform(0.35, 0.9), canvas.chance_of(0.35)
    extras = rng.random((6, 4))
    if patch is None:
        return
    across, along = (patch.q, patch.p) if w >= h else (patch.p, patch.q)
    short, long = min(w, h) / 2, max(w, h) / 2
    if pitched:
        slope: NDArray[np.floating] = short - abs(across)
        if hip:
            slope = np.minimum(slope, long - abs(along))
        roof: NDArray[np.floating] = eaves + np.minimum(slope, 5.0) * pitch
    else:
        parapet = np.minimum(short - abs(across), long - abs(along)) < 0.4
        roof = eaves + 0.4 * parapet
    canvas.fill(patch.at, patch.inside, kinds.BUILDING, material, roof, tint)
    # larger roofs carry more; a quarter of the draws leaves its place empty
    for a, b, size, what in extras[: int(1 + short * long / 25)]:
        spot = patch.inside & (abs(along - (1.5 * a - 0.75) * long) < 0.5 + 1.2 * size)
        spot &= abs(across - (1.5 * b - 0.75) * short) < 0.5 + 0.8 * size
        if what < 0.35:  # solar panels and roof windows lie in the roof
            canvas.fill(patch.at, spot, kinds.BUILDING, "glass", roof + 0.1)
        elif what < 0.75:  # dormers, chimneys and lift houses stand on it
            shade = tint * (0.75 + 0.5 * size)
            canvas.fill(patch.at, spot, kinds.BUILDING, material, roof + 0.9, shade)


def paint_tree(canvas: Canvas, u: float, v: float, radius: float, top: float) -> None:
    """Paint a crown with a ragged edge and lumps; it hides what is lower."""
    rng = canvas.rng
    phases, lumps = rng.uniform(0, 2 * np.pi, 3), rng.uniform(-1, 1, (5, 2))
    tint = canvas.draw_tint("foliage")
    patch = canvas.patch_at(u, v, 2.5 * radius, 2.5 * radius)
    if patch is None:
        return
    theta = np.arctan2(patch.q, patch.p)
    wobble = 1 + 0.09 * np.sin(3 * theta + phases[0]) + 0.06 * np.sin(7 * theta + phases[1])
    r = np.hypot(patch.p, patch.q) / (radius * wobble)
    crown = top * (0.5 + 0.5 * np.sqrt(np.clip(1 - r * r, 0, 1)))
    for a, b in lumps:
        away = np.hypot(patch.p - 0.6 * a * radius, patch.q - 0.6 * b * radius) / (0.35 * radius)
        crown += 0.09 * top * (np.exp(-away * away) - 0.3)
    # a crown stays below what is higher, such as a taller house
    mask = (r < 1) & (crown > canvas.height[patch.at])
    canvas.fill(patch.at, mask, kinds.TREE, "foliage", crown, tint)


def paint_shrubs(
    canvas: Canvas, u: float, v: float, w: float, h: float, top: float, turn: float = 0.0
) -> None:
    """Paint a hedge or a bed of shrubs: low vegetation that looks like crowns."""
    patch = canvas.patch_at(u, v, w, h, turn)
    tint = canvas.draw_tint("foliage")
    phases = canvas.rng.uniform(0, 2 * np.pi, 4)
    if patch is None:
        return
    p, q = patch.p, patch.q
    bumps = np.sin(3.1 * p + phases[0]) + np.sin(2.3 * q + 1.1 * p + phases[1])
    waves = np.sin(2.7 * p + phases[2]) + np.sin(3.3 * q + phases[3])
    edge = min(0.18, 0.06 * min(w, h)) * waves
    mask = patch.inside & (abs(p) < w / 2 + edge - 0.2) & (abs(q) < h / 2 + edge - 0.1)
    canvas.fill(patch.at, mask, kinds.LOW_VEGETATION, "foliage", top * (1 + 0.2 * bumps), tint)


def _draw_lacquer(canvas: Canvas, colours: int) -> np.ndarray:
    """Draw one of the first so many colours of cars, lighter or darker."""
    counts = np.array(canvas.draw_weighted(LACQUERS[:colours]), np.float32)
    return counts * np.float32(np.exp(canvas.rng.normal(0, 0.08)))


def paint_car(canvas: Canvas, u: float, v: float, turn: float) -> None:
    """Paint a car of about 4.5 x 1.8 m along its heading, with bonnet, cabin and dark screens."""
    rng = canvas.rng
    length, width = rng.normal(4.6, 0.2), rng.normal(1.95, 0.06)
    lacquer = _draw_lacquer(canvas, len(LACQUERS))
    turn = turn + (np.pi if canvas.chance_of(0.5) else 0.0)
    patch = canvas.patch_at(u, v, length, width, turn)
    if patch is None:
        return
    p, q = abs(patch.p), abs(patch.q)
    ahead, aside = np.clip(p - length / 2 + 0.5, 0, None), np.clip(q - width / 2 + 0.5, 0, None)
    body = patch.inside & (ahead**2 + aside**2 < 0.25)  # round corners
    if (canvas.label[patch.at][body] == kinds.CAR).any():
        return  # the place is taken
    # the cabin sits behind the middle, and only it is 1.5 m high
    cabin = abs(patch.p + 0.3) < 1.35
    canvas.fill(patch.at, body, kinds.CAR, "lacquer", np.where(cabin, 1.5, 0.95), lacquer)
    screens = body & (abs(abs(patch.p + 0.3) - 1.15) < 0.32) & (q < width / 2 - 0.15)
    canvas.fill(patch.at, screens, kinds.CAR, "glass", 1.35)


def paint_bed(canvas: Canvas, u: float, v: float, turn: float) -> None:
    """Paint a planted bed of a car's size and height: a car to whoever sees heights alone."""
    uniform = canvas.rng.uniform
    w, h, top = uniform(3.6, 5.2), uniform(1.6, 2.1), uniform(0.9, 1.6)
    paint_shrubs(canvas, u, v, w, h, top, turn)


def paint_repair(canvas: Canvas, u: float, v: float, turn: float) -> None:
    """Paint a patch of another surface of a car's size: a car to whoever sees colours alone."""
    counts = _draw_lacquer(canvas, 4)
    w, h = canvas.rng.uniform(3.5, 5.5), canvas.rng.uniform(1.5, 2.3)
    canvas.paint_slab(u, v, w, h, kinds.IMPERVIOUS, "asphalt", 0.0, turn, counts)


def paint_container(canvas: Canvas, u: float, v: float, turn: float) -> None:
    """Paint a skip or shipping container (clutter)."""
    counts = np.array(canvas.draw_weighted(CONTAINERS), np.float32)
    length, height = canvas.rng.choice([3.4, 6.1]), canvas.rng.uniform(1.5, 2.6)
    canvas.paint_slab(u, v, length, 2.4, kinds.CLUTTER, "lacquer", height, turn, counts)


def paint_heap(canvas: Canvas, u: float, v: float, radius: float) -> None:
    """Paint a heap of rubble, bricks or timber (clutter), up to 2 m high."""
    tint, top = canvas.draw_tint("junk"), canvas.rng.uniform(0.6, 2.0)
    phases = canvas.rng.uniform(0, 6.3, 2)
    patch = canvas.patch_at(u, v, 2.4 * radius, 2.4 * radius)
    if patch is None:
        return
    theta = np.arctan2(patch.q, patch.p)
    wobble = 1 + 0.15 * np.sin(2 * theta + phases[0]) + 0.08 * np.sin(5 * theta + phases[1])
    r = np.hypot(patch.p, patch.q) / (radius * wobble)
    canvas.fill(patch.at, r < 1, kinds.CLUTTER, "junk", top * np.sqrt(np.clip(1 - r, 0, 1)), tint)


def paint_basin(
    canvas: Canvas, u: float, v: float, w: float, h: float, material: str, turn: float = 0.0
) -> None:
    """Paint an oval pond or an angular pool (clutter), its surface slightly below the ground."""
    patch = canvas.patch_at(u, v, w, h, turn)
    tint = canvas.draw_tint(material)
    if patch is None:
        return
    # a pool keeps its corners, a pond is an ellipse
    mask = patch.inside
    if material == "water":
        mask = mask & ((2 * patch.p / w) ** 2 + (2 * patch.q / h) ** 2 < 1)
    canvas.fill(patch.at, mask, kinds.CLUTTER, material, -0.3, tint)
