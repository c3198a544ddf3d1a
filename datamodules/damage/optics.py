"""Blur of an optical image: out of focus, or moved during the exposure."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from datamodules.damage.fields import Floats, of_scene
from datamodules.damage.site import Damage, Site

FINE = 16  # points a side by which a pixel of a kernel is measured


@dataclass(frozen=True)
class Defocus(Damage):
    """Out of focus: the mean over a disc of `radius` pixels, the image of a point."""

    limits: ClassVar = {"radius": (0.5, 50)}

    radius: float

    @property
    def margin(self) -> int:
        """See the base class."""
        return int(np.ceil(self.radius))

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        return filter_image(values, disc(self.radius))


@dataclass(frozen=True)
class MotionBlur(Damage):
    """Motion during the exposure: the mean over a line of `length` pixels, its direction drawn."""

    limits: ClassVar = {"length": (1, 100)}

    length: float

    @property
    def margin(self) -> int:
        """See the base class."""
        return int(np.ceil(self.length / 2)) + 1

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        return filter_image(values, line(self.length, np.pi * of_scene(site.key)))


def disc(radius: float) -> npt.NDArray[np.float64]:
    """Return the share of a disc that falls into each pixel around its centre; their sum is 1."""
    reach = int(np.ceil(radius))
    points = (np.arange((2 * reach + 1) * FINE) + 0.5) / FINE - 0.5 - reach
    inside = np.hypot(points[:, None], points) <= radius
    shares = inside.reshape(2 * reach + 1, FINE, 2 * reach + 1, FINE).mean(axis=(1, 3))
    return shares / shares.sum()


def line(length: float, angle: float) -> npt.NDArray[np.float64]:
    """Return the share of a line in each pixel around its middle; their sum is 1.

    `angle` is from the rows' direction, in radians. Points between pixels count for all four.
    """
    reach = int(np.ceil(length / 2)) + 1
    number = max(int(length * FINE), 1)
    along = ((np.arange(number) + 0.5) / number - 0.5) * length
    rows, cols = reach + along * np.sin(angle), reach + along * np.cos(angle)
    shares = np.zeros((2 * reach + 1, 2 * reach + 1))
    top, left = np.floor(rows).astype(int), np.floor(cols).astype(int)
    lower, right = rows - top, cols - left
    np.add.at(shares, (top, left), (1 - lower) * (1 - right))
    np.add.at(shares, (top, left + 1), (1 - lower) * right)
    np.add.at(shares, (top + 1, left), lower * (1 - right))
    np.add.at(shares, (top + 1, left + 1), lower * right)
    return shares / number


def filter_image(values: Floats, kernel: npt.NDArray[np.float64]) -> Floats:
    """Sum float32 `(C, H, W)` around each pixel with the weights of a centred square kernel.

    The edges repeat.
    """
    reach, (height, width) = len(kernel) // 2, values.shape[1:]
    padded = np.pad(values, ((0, 0), (reach, reach), (reach, reach)), "edge")
    total = np.zeros_like(values)
    # in the same order for every pixel, so that no window rounds otherwise than another
    for row, col in np.argwhere(kernel):
        weight = np.float32(kernel[row, col])
        total += weight * padded[:, row : row + height, col : col + width]
    return total
