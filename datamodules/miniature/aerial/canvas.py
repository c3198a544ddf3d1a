"""The ground a scene is painted on: materials, and a canvas addressed in metres.

Positions u, v are metres in a street frame, turned against the rows and columns of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

# ISPRS ids (dataset dossier, section 2)
IMPERVIOUS, BUILDING, LOW_VEGETATION, TREE, CAR, CLUTTER = range(6)

T = TypeVar("T")
Tint = NDArray[np.float32]  # counts: red, green, blue, near infrared


@dataclass(frozen=True)
class Material:
    """What a surface looks like: mean counts (red, green, blue, near infrared) and how they vary.

    Between objects by `spread` (of brightness, relative) and `chroma` (of each band, in counts),
    inside an object by `grain` (relative, from pixel to pixel) and `mottle` (over about 1.5 m).
    """

    name: str
    counts: tuple[float, float, float, float]
    spread: float = 0.10
    chroma: float = 3.0
    grain: float = 0.04
    mottle: float = 0.04


# roofs and roads, roofs and paving, lawns and crowns share materials or means on purpose: what is
# alike in one sensor has to be told apart by another (mean counts near the published class means,
# dataset dossier, section 9)
MATERIALS = (
    Material("asphalt", (103, 107, 104, 82), 0.10, 3.0, 0.03, 0.03),
    Material("paving", (131, 131, 125, 98), 0.10, 3.5, 0.05, 0.05),
    Material("brick", (138, 108, 97, 106), 0.12, 5.0, 0.05, 0.05),
    Material("mossy", (94, 104, 86, 84), 0.12, 4.0, 0.06, 0.06),
    Material("bitumen", (97, 104, 105, 82), 0.10, 3.0, 0.055, 0.05),
    Material("gravel", (133, 133, 127, 102), 0.10, 3.5, 0.05, 0.05),
    Material("tile", (155, 99, 81, 110), 0.10, 4.0, 0.08, 0.05),
    Material("metal", (172, 178, 178, 150), 0.08, 4.0, 0.02, 0.02),
    Material("lawn", (84, 97, 67, 156), 0.10, 4.0, 0.04, 0.07),
    Material("dry_lawn", (122, 116, 90, 146), 0.10, 5.0, 0.06, 0.08),
    Material("meadow", (78, 89, 61, 150), 0.11, 4.0, 0.09, 0.12),
    Material("foliage", (74, 88, 58, 152), 0.12, 4.0, 0.15, 0.12),
    Material("turf", (78, 100, 72, 64), 0.10, 4.0, 0.03, 0.03),
    Material("soil", (140, 126, 102, 128), 0.10, 5.0, 0.07, 0.10),
    Material("water", (56, 74, 72, 34), 0.12, 5.0, 0.03, 0.05),
    Material("pool", (92, 148, 152, 48), 0.10, 6.0, 0.04, 0.04),
    Material("lacquer", (120, 122, 126, 104), 0.05, 3.0, 0.02, 0.0),
    Material("glass", (58, 64, 70, 56), 0.10, 2.0, 0.02, 0.0),
    Material("junk", (118, 110, 100, 104), 0.20, 14.0, 0.18, 0.16),
)
INDEX = {material.name: number for number, material in enumerate(MATERIALS)}


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

    def shrink_by(self, rim: float) -> Block:
        """Return the block without a rim of so many metres."""
        return Block(self.left + rim, self.right - rim, self.near + rim, self.far - rim)

    def cut_pieces(self, piece: float) -> list[Block]:
        """Cut along v into equal pieces of about `piece` metres."""
        count = max(1, round(self.depth / piece))
        edges = np.linspace(self.near, self.far, count + 1).tolist()
        return [Block(self.left, self.right, a, b) for a, b in pairwise(edges)]


@dataclass(frozen=True)
class Patch:
    """What lies under a rectangle: a window `at`, metres `p`, `q` along its sides, `inside` it."""

    at: tuple[slice, slice]
    p: NDArray[np.float64]
    q: NDArray[np.float64]
    inside: NDArray[np.bool_]


@dataclass
class Canvas:
    """Rasters being painted; u, v are metres from the centre in a frame turned by `angle` (rad)."""

    size: int
    gsd: float
    angle: float
    rng: np.random.Generator

    def __post_init__(self) -> None:
        shape = (self.size, self.size)
        self.label = np.zeros(shape, np.uint8)
        self.height = np.zeros(shape, np.float32)
        self.material = np.zeros(shape, np.uint8)
        self.reflectance = np.zeros((4, *shape), np.float32)

    @property
    def reach(self) -> float:
        """Half the diagonal in metres: beyond it, nothing can be seen."""
        return self.size * self.gsd * np.sqrt(0.5)

    def chance_of(self, probability: float) -> bool:
        """Draw true with the given probability."""
        return bool(self.rng.random() < probability)

    def draw_weighted(self, table: Sequence[tuple[T, float]]) -> T:
        """Draw one entry of a table of (value, weight)."""
        weights = np.array([weight for _, weight in table])
        return table[int(self.rng.choice(len(table), p=weights / weights.sum()))][0]

    def draw_tint(self, material: str) -> Tint:
        """Draw the counts of one object made of `material`."""
        made = MATERIALS[INDEX[material]]
        brightness = np.exp(self.rng.normal(0, made.spread))
        counts = np.array(made.counts) * brightness + self.rng.normal(0, made.chroma, 4)
        return counts.astype(np.float32)

    def patch_at(self, u: float, v: float, w: float, h: float, turn: float = 0.0) -> Patch | None:
        """Return what lies under a w x h metre rectangle around (u, v); None when it is outside."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        half = self.size * self.gsd / 2
        x, y = half + u * cos - v * sin, half + u * sin + v * cos
        cos, sin = np.cos(self.angle + turn), np.sin(self.angle + turn)
        columns = self._pixels(x, (abs(w * cos) + abs(h * sin)) / 2)
        rows = self._pixels(y, (abs(w * sin) + abs(h * cos)) / 2)
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return None
        dx = ((np.arange(columns.start, columns.stop) + 0.5) * self.gsd - x)[None, :]
        dy = ((np.arange(rows.start, rows.stop) + 0.5) * self.gsd - y)[:, None]
        p, q = dx * cos + dy * sin, dy * cos - dx * sin
        return Patch((rows, columns), p, q, (abs(p) < w / 2) & (abs(q) < h / 2))

    def _pixels(self, middle: float, reach: float) -> slice:
        """Return the pixels within `reach` metres of `middle`, as far as the canvas goes."""
        first = int(np.clip((middle - reach) / self.gsd, 0, self.size))
        last = int(np.clip((middle + reach + self.gsd) / self.gsd, 0, self.size))
        return slice(first, last)

    def fill(
        self, at: tuple[slice, slice], mask: NDArray[np.bool_], kind: int, material: str,
        height: NDArray[np.floating] | float = 0.0, tint: Tint | None = None,
    ) -> None:  # fmt: skip
        """Set class, material, height (m) and counts where `mask` is true inside `at`."""
        # only crowns may cover a roof
        if kind not in (BUILDING, TREE):
            mask = mask & (self.label[at] != BUILDING)
        counts = self.draw_tint(material) if tint is None else tint
        self.label[at][mask] = kind
        self.material[at][mask] = INDEX[material]
        self.height[at][mask] = height[mask] if isinstance(height, np.ndarray) else height
        self.reflectance[(slice(None), *at)][:, mask] = counts[:, None]

    def paint_slab(
        self, u: float, v: float, w: float, h: float, kind: int, material: str,
        height: float = 0.0, turn: float = 0.0, tint: Tint | None = None,
    ) -> None:  # fmt: skip
        """Paint a flat w x h metre rectangle around (u, v)."""
        patch = self.patch_at(u, v, w, h, turn)
        if patch is not None:
            self.fill(patch.at, patch.inside, kind, material, height, tint)

    def cover_block(self, block: Block, kind: int, materials: Sequence[tuple[str, float]]) -> None:
        """Paint a whole block flat, in a material drawn from a table of (material, weight)."""
        self.paint_slab(
            *block.centre, block.width, block.depth, kind, self.draw_weighted(materials)
        )
