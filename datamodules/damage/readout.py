"""What any scanning sensor may suffer: a wrong place, lost lines, a coarser grid."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datamodules.damage.fields import Floats, of_scene, uniform
from datamodules.damage.site import Damage, Site
from datamodules.store.reader import Window

RADAR = ("sar", "sar_linear")


@dataclass(frozen=True)
class Shift(Damage):
    """Mis-registration by whole `pixels`: up, down, to the left or to the right, as is drawn.

    Nothing is interpolated, which would blur too.
    """

    limits: ClassVar = {"pixels": (0, 1000)}

    pixels: int

    @property
    def margin(self) -> int:
        """See the base class."""
        return self.pixels

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        down, right = self.find_direction(site)
        # what goes around lies in the margin
        return np.roll(values, (down * self.margin, right * self.margin), (1, 2))

    def find_direction(self, site: Site) -> tuple[int, int]:
        """Say whether the image moves down (1) or up (-1), or to the right or to the left."""
        return ((1, 0), (-1, 0), (0, 1), (0, -1))[int(4 * of_scene(site.key))]


@dataclass(frozen=True)
class DeadLines(Damage):
    """Detectors of a line scanner are dead: a `share` of all columns, or of all rows, as is drawn.

    The lines hold what the suite gives to pixels without a measurement.
    """

    limits: ClassVar = {"share": (0, 1)}

    share: float

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        return np.where(self.find_lines(site), site.fill, values)

    def find_lines(self, site: Site) -> np.ndarray:
        """Tell which lines are dead, bool `(H, 1)` or `(1, W)`."""
        place = site.place
        if of_scene(site.key) < 0.5:
            line = Window(0, place.col, 1, place.width)
        else:
            line = Window(place.row, 0, place.height, 1)
        return uniform(site.key, line)[0] < self.share


@dataclass(frozen=True)
class Coarse(Damage):
    """A pixel `factor` times as large: means of blocks, brought back by linear interpolation.

    Blocks begin at the scene's corner. Of radar the mean power is taken, of all else the mean.
    """

    limits: ClassVar = {"factor": (1, 64)}

    factor: int

    @property
    def margin(self) -> int:
        """See the base class."""
        # to the next whole block, and the block beyond the nearest
        return 2 * self.factor

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        factor, (row, col, height, width) = self.factor, site.place
        radar = site.kind in RADAR
        top, left = -row % factor, -col % factor
        if radar:
            values = np.power(np.float32(10), values / 10)
        means = block_means(values, factor, top, left)
        if radar:
            means = 10 * np.log10(means)
        down, across = _nearest(height, top, factor), _nearest(width, left, factor)
        return _between(_between(means, *down, axis=1), *across, axis=2)


def block_means(values: Floats, factor: int, top: int, left: int) -> Floats:
    """Return the means of whole blocks of float32 `(C, H, W)`, the first from `top`, `left`."""
    rows, cols = (values.shape[1] - top) // factor, (values.shape[2] - left) // factor
    whole = values[:, top : top + rows * factor, left : left + cols * factor]
    total = np.zeros((len(values), rows, cols), np.float32)
    # in the same order for every block, so that no window rounds otherwise than another
    for row in range(factor):
        for col in range(factor):
            total += whole[:, row::factor, col::factor]
    total /= np.float32(factor**2)
    return total


def _nearest(length: int, start: int, factor: int) -> tuple[np.ndarray, np.ndarray, Floats]:
    """Number the two blocks between whose centres each pixel lies, and how far it is."""
    last = (length - start) // factor - 1
    position = (np.arange(length) - start + 0.5) / factor - 0.5
    number = np.floor(position)
    first, share = number.astype(int), (position - number).astype(np.float32)
    return first.clip(0, last), (first + 1).clip(0, last), share


def _between(
    means: Floats, first: np.ndarray, second: np.ndarray, share: Floats, axis: int
) -> Floats:
    weights = share[:, None] if axis == 1 else share
    low, high = means.take(first, axis), means.take(second, axis)
    return np.asarray(low * (1 - weights) + high * weights, np.float32)
