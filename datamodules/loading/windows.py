"""Rectangles of a scene: random ones to train on, covering ones to score."""

import numpy as np

from datamodules.store.reader import Window


def covering_starts(length: int, window: int, stride: int) -> list[int]:
    """List start positions of windows that cover `length` pixels.

    Raises:
        ValueError: unless 1 <= stride <= window (a larger stride would leave pixels unseen).

    Example:
        >>> covering_starts(100, window=64, stride=32)
        [0, 32, 36]
    """
    if not 1 <= stride <= window:
        raise ValueError(f"stride {stride} must lie between 1 and the window {window}")
    # the last window is shifted back to end at the edge, so that only small scenes need padding
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def covering_windows(height: int, width: int, window: int, stride: int) -> list[Window]:
    """List square windows that together cover a scene, row by row from the top.

    Example:
        >>> [(w.row, w.col) for w in covering_windows(64, 100, window=64, stride=64)]
        [(0, 0), (0, 36)]
    """
    rows = covering_starts(height, window, stride)
    columns = covering_starts(width, window, stride)
    return [Window(row, col, window, window) for row in rows for col in columns]


def random_window(rng: np.random.Generator, height: int, width: int, side: int) -> Window:
    """Draw a square window, uniform over its positions inside the scene (0 where it is too small).

    Example:
        >>> random_window(np.random.default_rng(0), height=20, width=30, side=64)
        Window(row=0, col=0, height=64, width=64)
    """
    row = int(rng.integers(0, max(height - side, 0) + 1))
    col = int(rng.integers(0, max(width - side, 0) + 1))
    return Window(row, col, side, side)
