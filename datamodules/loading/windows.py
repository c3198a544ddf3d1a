"""Rectangles of a scene: random ones to train on, covering ones to score."""

from __future__ import annotations

import numpy as np

from datamodules.store.reader import Window


def covering_starts(length: int, window: int, stride: int) -> list[int]:
    """Start positions of windows that cover `length` pixels; the last one is shifted back to end at the edge.

    Raises:
        ValueError: unless 1 <= stride <= window (a larger stride would leave pixels unseen).
    """
    if not 1 <= stride <= window:
        raise ValueError(f"stride {stride} must lie between 1 and the window {window}")
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def covering_windows(height: int, width: int, window: int, stride: int) -> list[Window]:
    """Square windows that together cover a scene, row by row from the top."""
    return [
        Window(row, col, window, window)
        for row in covering_starts(height, window, stride)
        for col in covering_starts(width, window, stride)
    ]


def random_window(rng: np.random.Generator, height: int, width: int, side: int) -> Window:
    """A square window of `side` pixels, uniform over the positions inside the scene (at 0 where it is too small)."""
    row = int(rng.integers(0, max(height - side, 0) + 1))
    col = int(rng.integers(0, max(width - side, 0) + 1))
    return Window(row, col, side, side)
