"""Errors of height models, in metres.

Networks are given heights above the 5th percentile of the scene as it was imported. That number
stays what it was, so that an error of all heights alike does reach the network.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datamodules.damage.fields import Floats, correlated, of_scene
from datamodules.damage.site import Damage, Site
from usererror import UserError

IN_METRES = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "ft": 0.3048}
TILTED = 100  # pixels over which a tilt is measured


@dataclass(frozen=True)
class Offset(Damage):
    """All heights are `metres` too large."""

    metres: float

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        return values + metres(self.metres, site)


@dataclass(frozen=True)
class Scale(Damage):
    """Heights above the scene's ground, its 5th percentile, are a share of `excess` too large."""

    excess: float

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        return values + np.float32(self.excess) * (values - site.fill)


@dataclass(frozen=True)
class Tilt(Damage):
    """A plane of `metres` per 100 pixels in a direction that is drawn, 0 at the upper left."""

    metres: float

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        row, col, height, width = site.place
        angle = 2 * np.pi * of_scene(site.key)
        down = np.sin(angle) * (np.arange(row, row + height) + 0.5)[:, None]
        across = np.cos(angle) * (np.arange(col, col + width) + 0.5)
        plane = ((down + across) / TILTED).astype(np.float32)
        return values + metres(self.metres, site) * plane


@dataclass(frozen=True)
class Ripples(Damage):
    """Errors with a deviation of `metres`, as image matching has them.

    Their correlation falls to 1 / e at `length` pixels.
    """

    limits: ClassVar = {"length": (1, 256)}

    metres: float
    length: int = 16

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        return values + metres(self.metres, site) * correlated(site.key, site.place, self.length)


def metres(number: float, site: Site) -> np.float32:
    """Turn metres into the unit of a raster.

    Raises:
        UserError: it is no length.
    """
    if site.unit not in IN_METRES:
        known = ", ".join(IN_METRES)
        problem = f"Errors of heights are in metres, and the unit of this {site.kind} raster is"
        remedy = f"import it with one of {known}, or leave the scenario out"
        raise UserError(f"{problem} {site.unit!r}: {remedy}.")
    return np.float32(number / IN_METRES[site.unit])
