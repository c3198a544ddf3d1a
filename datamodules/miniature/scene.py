"""Paints what is on the ground: classes, heights and reflectances of a German suburb seen from above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IMPERVIOUS, BUILDING, LOW_VEGETATION, TREE, CAR, CLUTTER = range(6)


@dataclass(frozen=True)
class Scene:
    """A square of ground. `label` H x W uint8, `height` H x W float32 (m above ground), `reflectance` 4 x H x W (counts)."""

    gsd: float
    label: NDArray[np.uint8]
    height: NDArray[np.float32]
    reflectance: NDArray[np.float32]


def paint_scene(size: int, gsd: float, rng: np.random.Generator) -> Scene:
    """Paint one scene of `size` x `size` pixels of `gsd` metres."""
    label = np.full((size, size), LOW_VEGETATION, np.uint8)
    height = np.zeros((size, size), np.float32)
    colours = np.array(
        [[100, 106, 104, 84], [100, 106, 104, 84], [78, 92, 62, 128], [70, 84, 58, 126], [150, 150, 155, 100],
         [70, 120, 130, 40]], np.float32)  # fmt: skip
    metres = (np.arange(size) + 0.5) * gsd
    y, x = metres[:, None], metres[None, :]

    def box(kind: int, top: float, w: float, h: float) -> None:
        u, v = rng.uniform(0, size * gsd, 2)
        mask = (abs(x - u) < w / 2) & (abs(y - v) < h / 2)
        label[mask], height[mask] = kind, top

    area = (size * gsd / 64) ** 2
    box(IMPERVIOUS, 0, 10, 1e9)
    box(IMPERVIOUS, 0, 1e9, 8)
    for kind, number, w, h in ((BUILDING, 9, 14, 10), (CLUTTER, 3, 6, 5), (TREE, 16, 6, 6), (CAR, 14, 4.5, 1.8)):
        for _ in range(max(1, round(number * area))):
            top = {BUILDING: rng.uniform(3, 15), TREE: rng.uniform(3, 10), CAR: 1.5, CLUTTER: 0}[kind]
            box(kind, float(top), w, h)
    return Scene(gsd, label, height, np.moveaxis(colours[label], -1, 0))
