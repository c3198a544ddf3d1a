"""Parts of a scene that a sensor did not see."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np

from datamodules.damage.fields import Floats, fractal, uniform
from datamodules.damage.site import Damage, Site
from datamodules.store.reader import Window

ASPECT = 2.0  # the longer side of a hole is up to so many times the shorter one


@dataclass(frozen=True)
class Holes(Damage):
    """A rectangular hole in every square of `side` pixels, of `share` of its area; at most a half.

    The holes hold what the suite gives to pixels without a measurement.
    """

    limits: ClassVar = {"share": (0, 0.5), "side": (1, 1e5)}

    share: float
    side: int = 128

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        return np.where(self.find_holes(site), site.fill, values)

    def find_holes(self, site: Site) -> np.ndarray:
        """Tell which pixels lie in a hole, bool `(H, W)`."""
        place, side = site.place, self.side
        rows = np.arange(place.row, place.row + place.height)
        cols = np.arange(place.col, place.col + place.width)
        squares = Window(rows[0] // side, cols[0] // side, 0, 0)._replace(
            height=int(rows[-1] // side - rows[0] // side + 1),
            width=int(cols[-1] // side - cols[0] // side + 1),
        )
        aspect, down, across = uniform(site.key, squares, 3)
        # between 1 : 2 and 2 : 1; a square of half the area has room for both
        aspect = ASPECT ** (2 * aspect - 1)
        inside = np.ones((place.height, place.width), bool)
        for axis, offset, ratio in ((rows, down, aspect), (cols, across, 1 / aspect)):
            length = side * np.sqrt(self.share * ratio)
            start = offset * (side - length)
            own = np.ix_(rows // side - squares.row, cols // side - squares.col)
            at = (axis % side + 0.5)[:, None] if axis is rows else (axis % side + 0.5)[None]
            inside &= (at >= start[own]) & (at < (start + length)[own])
        return inside


@dataclass(frozen=True)
class Ragged(Damage):
    """Irregular holes over `share` of the area, expected, as matching without texture leaves them.

    They hold what the suite gives to pixels without a measurement.
    """

    limits: ClassVar = {"share": (0.001, 0.999), "largest": (1, 1e5)}

    share: float
    largest: int = 32

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        return np.where(self.find_holes(site), site.fill, values)

    def find_holes(self, site: Site) -> np.ndarray:
        """Tell which pixels lie in a hole, bool `(1, H, W)`."""
        threshold = np.float32(NormalDist().inv_cdf(1 - self.share))
        return fractal(site.key, site.place, self.largest) > threshold
