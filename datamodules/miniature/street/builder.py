"""Random draws and building blocks of a street that is being laid out."""

from collections.abc import Sequence

import numpy as np

from datamodules.miniature.street.street import STILL, Colour, Lamp, Motion, Point, Street

LACQUERS: tuple[Colour, ...] = (
    (0.62, 0.62, 0.63), (0.10, 0.10, 0.11), (0.45, 0.08, 0.08), (0.10, 0.18, 0.42),
    (0.36, 0.37, 0.38), (0.55, 0.50, 0.40),
)  # fmt: skip


class StreetBuilder:
    """A view, and the generator that decides what is put into it."""

    def __init__(self, view: Street, rng: np.random.Generator) -> None:
        self.view, self.rng = view, rng
        # leaves get a generator of their own: their number depends on the size of the picture, and
        # what stands in the street must not
        leaves = np.random.default_rng(int(rng.integers(2**31)))
        self.noise = leaves.random((view.size, view.size)).astype(np.float32)

    def chance_of(self, probability: float) -> bool:
        """Draw true with the given probability."""
        return bool(self.rng.random() < probability)

    def draw(self, low: float, high: float) -> float:
        """Draw a number between two."""
        return float(self.rng.uniform(low, high))

    def draw_tint(self, colours: Sequence[Colour], spread: float = 0.12) -> Colour:
        """Draw one of the colours, lighter or darker."""
        base = np.array(colours[int(self.rng.integers(len(colours)))])
        shade = base * np.exp(self.rng.normal(0, spread)) + self.rng.normal(0, 0.015, 3)
        r, g, b = np.clip(shade, 0.02, 0.95).tolist()
        return r, g, b

    def add_block(
        self, place: Point, size: Point, kind: int, colour: Colour, pattern: str = "",
        moving: Motion = STILL,
    ) -> None:  # fmt: skip
        """Put a box with the middle of its lower near edge at a place; sizes along x, y, z."""
        (x, y, z), (width, height, length) = place, size
        edges = (x - width / 2, x + width / 2, y, y + height, z, z + length)
        self.view.draw_box(edges, kind, colour, pattern, moving)

    def add_lamp(self, x: float, y: float, z: float, colour: Colour) -> None:
        """Remember a light for the night."""
        column, row, depth = self.view.project_point(x, y, z)
        if depth > 1:
            self.view.lamps.append(Lamp(column, row, depth, colour))
