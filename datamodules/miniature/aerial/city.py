"""A town without edges: any window of it can be painted by itself, and windows that overlap show the same ground.

Positions are metres east and south of the town's origin. Streets run along the axes of a frame turned by one angle per
town; what stands in a street block, and the noise of a picture, depends on the town's key and the place alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.miniature.aerial.blocks import LAWNS, Block, Crown, paint_block
from datamodules.miniature.aerial.canvas import (
    BUILDING,
    IMPERVIOUS,
    LOW_VEGETATION,
    MATERIALS,
    TREE,
    Canvas,
)
from datamodules.miniature.aerial.objects import (
    draw_weighted,
    paint_house,
    paint_shrubs,
    paint_tree,
)
from datamodules.miniature.aerial.scene import FOOTWAYS, STREETS, Scene
from datamodules.miniature.aerial.sensors import Light, cast_shadows

PITCH = 56.0, 62.0  # metres between the beginnings of street blocks, along and across
JITTER = 6.0
LONGEST_BLOCK = 95.0  # diagonal, jitter included
CHUNK = 128  # pixels; noise is drawn in pieces of this size
STREET, LAND, LOOK = range(3)  # what a generator is for


@dataclass(frozen=True)
class Window:
    """A square of a town: first row and column of its pixel grid, side in pixels, side of a pixel in metres."""

    row: int
    column: int
    size: int
    gsd: float

    def grow_by(self, by: int) -> Window:
        """Return the window with a rim of `by` pixels."""
        return Window(self.row - by, self.column - by, self.size + 2 * by, self.gsd)


@dataclass(frozen=True)
class Town:
    """A town by its key (numbers that seed it); `green` has trees and lawns instead of houses."""

    key: tuple[int, ...]
    green: bool = False

    def generator_for(self, *what: int) -> np.random.Generator:
        """Return a generator for one thing of this town; the numbers may be negative."""
        return np.random.default_rng([*self.key, *(2 * abs(n) + (n < 0) for n in what)])

    def noise_on(self, window: Window, kind: int) -> NDArray[np.float64]:
        """Return standard normal noise (size x size) tied to the ground, another one for each `kind`."""
        first = window.row // CHUNK, window.column // CHUNK
        last = (window.row + window.size - 1) // CHUNK, (window.column + window.size - 1) // CHUNK
        rows = [
            np.concatenate(
                [
                    self.generator_for(LOOK, kind, i, j).normal(0, 1, (CHUNK, CHUNK))
                    for j in range(first[1], last[1] + 1)
                ],
                axis=1,
            )
            for i in range(first[0], last[0] + 1)
        ]
        top, left = window.row - first[0] * CHUNK, window.column - first[1] * CHUNK
        return np.concatenate(rows)[top : top + window.size, left : left + window.size]

    def paint_window(self, window: Window) -> tuple[Scene, NDArray[np.bool_]]:
        """Return what is there, and where (size x size) a building is too new for the height model to know it."""
        rim = int(np.ceil(LONGEST_BLOCK / window.gsd))
        angle = float(self.generator_for(STREET).uniform(-0.6, 0.6))
        outer = window.grow_by(rim)
        canvas = Canvas(outer.size, window.gsd, angle, self.generator_for(STREET))
        unknown = np.zeros((outer.size, outer.size), np.bool_)
        x, y = ((start + window.size / 2) * window.gsd for start in (window.column, window.row))
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        canvas.paint_slab(0, 0, 2 * canvas.reach, 2 * canvas.reach, IMPERVIOUS, "asphalt")
        crowns: list[tuple[np.random.Generator, list[Crown]]] = []
        reach = window.size * window.gsd * (abs(np.cos(angle)) + abs(np.sin(angle))) / 2
        for i in _numbers(u, reach, PITCH[0]):
            for j in _numbers(v, reach, PITCH[1]):
                canvas.rng = self.generator_for(LAND, i, j)
                block = self._block(i, j, u, v)
                crowns.append((canvas.rng, self._fill(canvas, block)))
                if canvas.chance_of(0.08) and (
                    patch := canvas.patch_at(*block.centre, block.width, block.depth)
                ):
                    unknown[patch.at] |= patch.inside
        for canvas.rng, trees in crowns:
            for at, across, radius, top in trees:
                paint_tree(canvas, at, across, radius, top)
        unknown &= canvas.label == BUILDING
        cut = (slice(rim, rim + window.size),) * 2
        scene = Scene(
            window.gsd,
            canvas.label[cut].copy(),
            canvas.height[cut].copy(),
            canvas.material[cut].copy(),
            canvas.reflectance[(slice(None), *cut)].copy(),
        )
        return scene, unknown[cut].copy()

    def _block(self, i: int, j: int, u: float, v: float) -> Block:
        """Return street block (i, j) in the frame of a canvas whose centre lies at (u, v)."""
        left, right = (
            k * PITCH[0] + self.generator_for(STREET, 1, k).uniform(0, JITTER) for k in (i, i + 1)
        )
        near, far = (
            k * PITCH[1] + self.generator_for(STREET, 2, k).uniform(0, JITTER) for k in (j, j + 1)
        )
        return Block(left - u, right - u - 8.0, near - v, far - v - 8.0)

    def _fill(self, canvas: Canvas, block: Block) -> list[Crown]:
        """Paint a street block with the streets on two of its sides; return its trees, which come last of all."""
        street = canvas.draw_tint(str(draw_weighted(canvas, STREETS)))
        canvas.paint_slab(
            *block.shrink_by(-4).centre,
            block.width + 8,
            block.depth + 8,
            IMPERVIOUS,
            "asphalt",
            tint=street,
        )
        canvas.paint_slab(
            *block.centre,
            block.width,
            block.depth,
            IMPERVIOUS,
            str(draw_weighted(canvas, FOOTWAYS)),
        )
        inner = block.shrink_by(1.5)
        if self.green:
            return _grove(canvas, inner)
        return _towers(canvas, inner) if canvas.chance_of(0.12) else paint_block(canvas, inner)


def _numbers(middle: float, reach: float, pitch: float) -> range:
    """Return the numbers of the street blocks that may touch [middle - reach, middle + reach]."""
    return range(int((middle - reach - JITTER) // pitch), int((middle + reach) // pitch) + 1)


def _towers(canvas: Canvas, block: Block) -> list[Crown]:
    """High-rise blocks on a lawn."""
    rng = canvas.rng
    canvas.paint_slab(
        *block.centre, block.width, block.depth, LOW_VEGETATION, str(draw_weighted(canvas, LAWNS))
    )
    for piece in block.cut_pieces(25):
        side = rng.uniform(13, 18)
        at = piece.centre[0] + rng.uniform(-9, 9), piece.centre[1]
        paint_house(
            canvas, *at, side, min(side, piece.depth - 4), int(rng.integers(6, 11)), pitched=False
        )
    return _trees(canvas, block, 14)


def _grove(canvas: Canvas, block: Block) -> list[Crown]:
    """Grass, hedges and trees."""
    canvas.paint_slab(
        *block.centre, block.width, block.depth, LOW_VEGETATION, str(draw_weighted(canvas, LAWNS))
    )
    paint_shrubs(canvas, *block.centre, block.width / 2, 4.0, 1.5)
    return _trees(canvas, block, 30)


def _trees(canvas: Canvas, block: Block, number: int) -> list[Crown]:
    low = (block.left, block.near, 2.2, 4.0)
    high = (block.right, block.far, 4.5, 10.0)
    return [
        (u, v, radius, top)
        for u, v, radius, top in canvas.rng.uniform(low, high, (number, 4)).tolist()
    ]


def photograph_window(scene: Scene, town: Town, window: Window) -> NDArray[np.float64]:
    """Return an orthophoto of `scene`, which is `window` of `town` (3 x H x W counts: red, green, blue)."""
    light = Light.draw(town.generator_for(LOOK))
    grain, mottle = (
        np.array([getattr(m, name) for m in MATERIALS])[scene.material]
        for name in ("grain", "mottle")
    )
    texture = (
        1
        + grain * town.noise_on(window, 0)
        + mottle * _smooth(town.noise_on(window, 1), 1.5 / window.gsd)
    )
    down, right = np.gradient(scene.height.astype(float), window.gsd)
    slope = np.clip(down * np.cos(light.azimuth) - right * np.sin(light.azimuth), -0.8, 0.8)
    sunlit = (1 - cast_shadows(scene, light)) * (1 + 0.6 * slope)
    sky = np.array([0.42, 0.46, 0.53])[
        :, None, None
    ]  # the sky lights shadows, and blue most of all
    image = scene.reflectance[:3] * np.clip(texture, 0.3, 1.8) * (sky + (1 - sky) * sunlit)
    image = (
        ndimage.gaussian_filter(image, (0, 0.55, 0.55)) * light.gain[:3, None, None]
        + light.haze[:3, None, None]
    )
    return image + 2.5 * np.stack([town.noise_on(window, kind) for kind in (2, 3, 4)])


def height_model(
    scene: Scene, unknown: NDArray[np.bool_], town: Town, window: Window
) -> NDArray[np.float32]:
    """Return heights above ground (H x W float32, m) as matched satellite images give them: smooth, zero below 1.5 m.

    Crowns lose some of their height, and a building that is `unknown` is missing.
    """
    lower = np.where(
        scene.label == TREE, 0.8 + 0.1 * _smooth(town.noise_on(window, 5), 3 / window.gsd), 1.0
    )
    height = np.where(unknown, 0, np.clip(scene.height * lower, 0, None))
    height = ndimage.gaussian_filter(height, 0.7 / window.gsd)
    height *= 1 + 0.06 * _smooth(town.noise_on(window, 6), 4 / window.gsd)
    height[unknown | (height < 1.5)] = 0
    return height.astype(np.float32)


def _smooth(noise: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Return standard normal noise that changes slowly; scaled by what the filter does to it, not by what it holds."""
    return ndimage.gaussian_filter(noise, sigma) * 2 * np.sqrt(np.pi) * sigma
