"""A town without edges: windows of it that overlap show the same ground.

Positions are metres east and south of the town's origin. Streets run along the axes of a frame
turned by one angle per town; what stands in a street block, and the noise of a picture, depends on
the town's key and the place alone, so any window can be painted by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.miniature.aerial.blocks import Crown, paint_block, paint_lawn
from datamodules.miniature.aerial.canvas import BUILDING, IMPERVIOUS, TREE, Block, Canvas
from datamodules.miniature.aerial.objects import paint_house, paint_shrubs, paint_tree
from datamodules.miniature.aerial.scene import FOOTWAYS, STREETS, Scene
from datamodules.miniature.aerial.sensors import SKY_LIGHT, Light, cast_shadows, material_property

PITCH = 56.0, 62.0  # metres between the beginnings of street blocks, along and across
JITTER = 6.0
STREET_WIDTH = 8.0
LONGEST_BLOCK = 95.0  # diagonal, jitter included
CHUNK = 128  # pixels; noise is drawn in pieces of this size
STREET, LAND, LOOK = range(3)  # what a generator is for


@dataclass(frozen=True)
class Window:
    """A square of a town: first row and column of its pixels, side in pixels, pixel in metres."""

    row: int
    column: int
    size: int
    gsd: float

    def grow_by(self, rim: int) -> Window:
        """Return the window with a rim of so many pixels."""
        return Window(self.row - rim, self.column - rim, self.size + 2 * rim, self.gsd)


@dataclass(frozen=True)
class Town:
    """A town by its key (numbers that seed it); `green` has trees and lawns instead of houses."""

    key: tuple[int, ...]
    green: bool = False

    def generator_for(self, *what: int) -> np.random.Generator:
        """Return a generator for one thing of this town; the numbers may be negative."""
        # seeds cannot be negative: 0, -1, 1, -2, ... become 0, 3, 2, 5, ...
        return np.random.default_rng([*self.key, *(2 * abs(n) + (n < 0) for n in what)])

    def noise_on(self, window: Window, kind: int) -> NDArray[np.float64]:
        """Return standard normal noise `(size, size)` tied to the ground, another for each kind."""
        top, left = window.row // CHUNK, window.column // CHUNK
        bottom = (window.row + window.size - 1) // CHUNK
        right = (window.column + window.size - 1) // CHUNK
        rows = []
        for i in range(top, bottom + 1):
            chunks = []
            for j in range(left, right + 1):
                rng = self.generator_for(LOOK, kind, i, j)
                chunks.append(rng.normal(0, 1, (CHUNK, CHUNK)))
            rows.append(np.concatenate(chunks, axis=1))
        row, column = window.row - top * CHUNK, window.column - left * CHUNK
        return np.concatenate(rows)[row : row + window.size, column : column + window.size]

    def paint_window(self, window: Window) -> tuple[Scene, NDArray[np.bool_]]:
        """Return what is there, and where a building is too new for the height model to know it."""
        # the canvas is larger, so that whole blocks are painted and overlapping windows agree
        rim = int(np.ceil(LONGEST_BLOCK / window.gsd))
        angle = float(self.generator_for(STREET).uniform(-0.6, 0.6))
        outer = window.grow_by(rim)
        canvas = Canvas(outer.size, window.gsd, angle, self.generator_for(STREET))
        unknown = np.zeros((outer.size, outer.size), np.bool_)
        x = (window.column + window.size / 2) * window.gsd
        y = (window.row + window.size / 2) * window.gsd
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        canvas.paint_slab(0, 0, 2 * canvas.reach, 2 * canvas.reach, IMPERVIOUS, "asphalt")
        crowns: list[tuple[np.random.Generator, list[Crown]]] = []
        reach = window.size * window.gsd * (abs(np.cos(angle)) + abs(np.sin(angle))) / 2
        for i in _block_numbers(u, reach, PITCH[0]):
            for j in _block_numbers(v, reach, PITCH[1]):
                canvas.rng = self.generator_for(LAND, i, j)
                block = self._block(i, j, u, v)
                crowns.append((canvas.rng, self._fill(canvas, block)))
                if canvas.chance_of(0.08):
                    patch = canvas.patch_at(*block.centre, block.width, block.depth)
                    if patch is not None:
                        unknown[patch.at] |= patch.inside
        # each block's crowns go on with its own draws
        for canvas.rng, trees in crowns:
            for at, across, radius, top in trees:
                paint_tree(canvas, at, across, radius, top)
        unknown &= canvas.label == BUILDING
        inside = slice(rim, rim + window.size)
        rasters = canvas.label, canvas.height, canvas.material, canvas.reflectance
        scene = Scene(window.gsd, *rasters).cut(inside, inside)
        return scene, unknown[inside, inside].copy()

    def _block(self, i: int, j: int, u: float, v: float) -> Block:
        """Return street block (i, j) in the frame of a canvas whose centre lies at (u, v)."""
        left, right = self._street_edge(0, i) - u, self._street_edge(0, i + 1) - u - STREET_WIDTH
        near, far = self._street_edge(1, j) - v, self._street_edge(1, j + 1) - v - STREET_WIDTH
        return Block(left, right, near, far)

    def _street_edge(self, axis: int, number: int) -> float:
        jitter = self.generator_for(STREET, axis + 1, number).uniform(0, JITTER)
        return number * PITCH[axis] + jitter

    def _fill(self, canvas: Canvas, block: Block) -> list[Crown]:
        """Paint a block with the streets on two of its sides; return its trees, which come last."""
        street = canvas.draw_tint(canvas.draw_weighted(STREETS))
        u, v = block.shrink_by(-4).centre
        w, h = block.width + STREET_WIDTH, block.depth + STREET_WIDTH
        canvas.paint_slab(u, v, w, h, IMPERVIOUS, "asphalt", tint=street)
        canvas.cover_block(block, IMPERVIOUS, FOOTWAYS)
        inner = block.shrink_by(1.5)
        if self.green:
            return _grove(canvas, inner)
        return _towers(canvas, inner) if canvas.chance_of(0.12) else paint_block(canvas, inner)


def _block_numbers(middle: float, reach: float, pitch: float) -> range:
    """Return the numbers of the street blocks that may touch [middle - reach, middle + reach]."""
    return range(int((middle - reach - JITTER) // pitch), int((middle + reach) // pitch) + 1)


def _towers(canvas: Canvas, block: Block) -> list[Crown]:
    """High-rise blocks on a lawn."""
    rng = canvas.rng
    paint_lawn(canvas, block)
    for piece in block.cut_pieces(25):
        side = rng.uniform(13, 18)
        u, v = piece.centre[0] + rng.uniform(-9, 9), piece.centre[1]
        storeys = int(rng.integers(6, 11))
        paint_house(canvas, u, v, side, min(side, piece.depth - 4), storeys, pitched=False)
    return _trees(canvas, block, 14)


def _grove(canvas: Canvas, block: Block) -> list[Crown]:
    """Grass, hedges and trees."""
    paint_lawn(canvas, block)
    paint_shrubs(canvas, *block.centre, block.width / 2, 4.0, 1.5)
    return _trees(canvas, block, 30)


def _trees(canvas: Canvas, block: Block, number: int) -> list[Crown]:
    low = (block.left, block.near, 2.2, 4.0)
    high = (block.right, block.far, 4.5, 10.0)
    return [tuple(crown) for crown in canvas.rng.uniform(low, high, (number, 4)).tolist()]


def photograph_window(scene: Scene, town: Town, window: Window) -> NDArray[np.float64]:
    """Return an orthophoto of `scene`, which is `window` of `town`: counts `(3, H, W)`, RGB."""
    light = Light.draw(town.generator_for(LOOK))
    mottle = _smooth(town.noise_on(window, 1), 1.5 / window.gsd)
    texture = 1 + material_property(scene, "grain") * town.noise_on(window, 0)
    texture = texture + material_property(scene, "mottle") * mottle
    down, right = np.gradient(scene.height.astype(float), window.gsd)
    slope = np.clip(down * np.cos(light.azimuth) - right * np.sin(light.azimuth), -0.8, 0.8)
    sunlit = (1 - cast_shadows(scene, light)) * (1 + 0.6 * slope)
    sky, gain, haze = SKY_LIGHT[:3], light.gain[:3, None, None], light.haze[:3, None, None]
    image = scene.reflectance[:3] * np.clip(texture, 0.3, 1.8) * (sky + (1 - sky) * sunlit)
    image = ndimage.gaussian_filter(image, (0, 0.55, 0.55)) * gain + haze
    return image + 2.5 * np.stack([town.noise_on(window, kind) for kind in (2, 3, 4)])


def height_model(
    scene: Scene, unknown: NDArray[np.bool_], town: Town, window: Window
) -> NDArray[np.float32]:
    """Return heights above ground `(H, W)` in m as matched satellite images give them.

    They are smooth and zero below 1.5 m; a building that is `unknown` is missing.
    """
    # crowns lose some of their height: matching finds the gaps between twigs
    crowns = 0.8 + 0.1 * _smooth(town.noise_on(window, 5), 3 / window.gsd)
    lower = np.where(scene.label == TREE, crowns, 1.0)
    height = np.where(unknown, 0, np.clip(scene.height * lower, 0, None))
    height = ndimage.gaussian_filter(height, 0.7 / window.gsd)
    height *= 1 + 0.06 * _smooth(town.noise_on(window, 6), 4 / window.gsd)
    height[unknown | (height < 1.5)] = 0
    return height.astype(np.float32)


def _smooth(noise: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Return standard normal noise that changes slowly."""
    # scaled by what the filter does to noise, not by what this piece holds: windows must agree
    return ndimage.gaussian_filter(noise, sigma) * 2 * np.sqrt(np.pi) * sigma
