"""Damage of radar images, which arrive in decibels."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datamodules.damage.fields import Floats, gamma
from datamodules.damage.site import Damage, Site
from datamodules.rasters.units import EPSILON, SAR_LINEAR, clip_decibels


@dataclass(frozen=True)
class Speckle(Damage):
    """Speckle as fewer `looks` L leave it: the power times Gamma(L, 1/L), of mean 1 (Goodman 1976).

    It comes on top of the speckle that the image has: L are looks of what is added.
    """

    limits: ClassVar = {"looks": (0.1, 1e6)}

    looks: float

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        speckle = gamma(site.key, site.place, self.looks, len(values))
        # an empty draw has no logarithm
        return limit(values + 10 * np.log10(np.maximum(speckle, np.float32(EPSILON))), site)


@dataclass(frozen=True)
class Calibration(Damage):
    """A wrong calibration constant: `decibels` too much."""

    decibels: float

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        return limit(values + np.float32(self.decibels), site)


def limit(decibels: Floats, site: Site) -> Floats:
    """Cut to the range in which linear backscatter is read; stored decibels have none."""
    return clip_decibels(decibels, site.clip_db) if site.kind == SAR_LINEAR else decibels
