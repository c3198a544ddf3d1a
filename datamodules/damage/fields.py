"""Random fields over the whole plane, of which any rectangle can be had by itself.

A scene is read in windows, by several processes, in any order. What is drawn for a pixel must not
depend on any of that, so the plane is cut into tiles, and each tile has a generator of its own:

    window A needs tiles 0 1      window B, which overlaps it, needs tiles 1 2
    tile 1 is drawn twice, from (key, 0, 1) both times, and holds the same numbers

    >>> key = field_key("haze", "area1", "rgb", 0)
    >>> whole = normal(key, Window(0, 0, height=200, width=300))
    >>> part = normal(key, Window(50, 100, height=20, width=80))
    >>> bool((part == whole[:, 50:70, 100:180]).all())
    True
"""

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from datamodules.store.reader import Window

Floats = npt.NDArray[np.float32]
Key = tuple[int, ...]

TILE = 64
ORIGIN = 1 << 20  # added to the numbers of tiles, since seeds have no sign


def field_key(*words: object) -> Key:
    """Turn whatever names a draw into numbers to seed with, the same on every machine."""
    digest = hashlib.sha256("\0".join(map(str, words)).encode()).digest()
    return tuple(np.frombuffer(digest[:16], "<u4").tolist())


def uniform(key: Key, place: Window, channels: int = 1) -> Floats:
    """Draw `(channels, height, width)` numbers in [0, 1)."""
    return _from_tiles(key, place, channels, lambda rng, size: rng.random(size, np.float32))


def normal(key: Key, place: Window, channels: int = 1) -> Floats:
    """Draw `(channels, height, width)` numbers with mean 0 and deviation 1."""
    return _from_tiles(
        key, place, channels, lambda rng, size: rng.standard_normal(size, np.float32)
    )


def gamma(key: Key, place: Window, shape: float, channels: int = 1) -> Floats:
    """Draw `(channels, height, width)` Gamma numbers with mean 1 and variance 1 / `shape`."""

    def draw(rng: np.random.Generator, size: tuple[int, int, int]) -> Floats:
        return rng.standard_gamma(shape, size, np.float32) / np.float32(shape)

    return _from_tiles(key, place, channels, draw)


def of_scene(key: Key) -> float:
    """Draw one number in [0, 1) for a whole scene."""
    return float(np.random.default_rng(key).random())


def smooth(key: Key, place: Window, cell: int, channels: int = 1) -> Floats:
    """Draw a field that changes over `cell` pixels; every value has mean 0 and deviation 1.

    Numbers at the corners of cells, between which it runs smoothly.
    """
    first = Window(place.row // cell, place.col // cell, 0, 0)
    rows = (place.row + place.height - 1) // cell - first.row + 2
    cols = (place.col + place.width - 1) // cell - first.col + 2
    corners = normal(key, first._replace(height=rows, width=cols), channels)
    above, down = _between(place.row, place.height, cell)
    before, across = _between(place.col, place.width, cell)
    above, before, down = above - first.row, before - first.col, down[:, None]
    # number by number: a product of matrices rounds as their shapes have it, hence by the window
    mixed = (1 - down) * corners[:, above] + down * corners[:, above + 1]
    mixed = (1 - across) * mixed[..., before] + across * mixed[..., before + 1]
    # a mean of independent numbers varies less than each of them
    spread = np.hypot(1 - down, down) * np.hypot(1 - across, across)
    return np.asarray(mixed / spread, np.float32)


def fractal(key: Key, place: Window, largest: int, octaves: int = 5, channels: int = 1) -> Floats:
    """Draw a field with details of all sizes from `largest` pixels down, as clouds have them.

    Each octave has half the size and half the height of the one before; every value has mean 0
    and deviation 1.
    """
    total, energy = np.zeros((channels, place.height, place.width), np.float32), 0.0
    for octave in range(octaves):
        height, cell = 0.5**octave, max(largest >> octave, 1)
        total += height * smooth((*key, octave), place, cell, channels)
        energy += height**2
    return np.asarray(total / np.sqrt(energy), np.float32)


def correlated(key: Key, place: Window, length: int) -> Floats:
    """Draw `(1, height, width)` with mean 0 and deviation 1, alike nearby in all directions.

    The correlation of two pixels at distance d is `exp(-(d / length)^2)`: white noise under a
    Gaussian, which shows no cells as `smooth` does, and costs more.
    """
    reach = 3 * length // 2 + 1
    weights = np.exp(-2 * (np.arange(-reach, reach + 1) / length) ** 2)
    weights = (weights / np.linalg.norm(weights)).astype(np.float32)
    row, col, height, width = place
    around = Window(row - reach, col - reach, height + 2 * reach, width + 2 * reach)
    noise = normal(key, around)
    down = np.zeros((1, height, around.width), np.float32)
    for start, weight in enumerate(weights):
        down += weight * noise[:, start : start + height]
    across = np.zeros((1, height, width), np.float32)
    for start, weight in enumerate(weights):
        across += weight * down[..., start : start + width]
    return across


def _from_tiles(
    key: Key,
    place: Window,
    channels: int,
    draw: Callable[[np.random.Generator, tuple[int, int, int]], Floats],
) -> Floats:
    top, left = place.row // TILE, place.col // TILE
    rows = (place.row + place.height - 1) // TILE - top + 1
    cols = (place.col + place.width - 1) // TILE - left + 1
    whole = np.empty((channels, rows * TILE, cols * TILE), np.float32)
    for row in range(rows):
        for col in range(cols):
            rng = np.random.default_rng((*key, top + row + ORIGIN, left + col + ORIGIN))
            where = np.s_[:, row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE]
            whole[where] = draw(rng, (channels, TILE, TILE))
    above, before = place.row - top * TILE, place.col - left * TILE
    return whole[:, above : above + place.height, before : before + place.width]


def _between(start: int, length: int, cell: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Number the cell of each pixel from `start` on, and how far it is to the next corner."""
    position = (np.arange(start, start + length) + 0.5) / cell
    number = np.floor(position)
    share = (position - number).astype(np.float32)
    # flat at the corners, so that no edges of cells are seen
    return number.astype(np.int64), share**2 * (3 - 2 * share)
