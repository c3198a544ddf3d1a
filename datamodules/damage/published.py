"""Damage as published benchmarks define it (Liao et al. 2025), and what absence may look like."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datamodules.damage.fields import Floats, normal, uniform
from datamodules.damage.site import Damage, Site


@dataclass(frozen=True)
class Blank(Damage):
    """An image of zeros.

    After normalisation that is the training mean of the raster, before it black pixels or height 0.
    """

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        return np.zeros_like(values)


@dataclass(frozen=True)
class RandomValues(Damage):
    """Random missing modality (RMM): a share of the values, of each channel by itself, is zero."""

    limits: ClassVar = {"share": (0, 1)}

    share: float

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        return zero_values(values, uniform(site.key, site.place, len(values)) < self.share)


@dataclass(frozen=True)
class NoisyValues(Damage):
    """Noisy modality (NM): salt and pepper, then Gaussian noise, in deviations of the training set.

    Published with the extremes of a tensor, which depend on the windows of a batch; here they are
    those of the scene.
    """

    limits: ClassVar = {"density": (0, 1), "deviation": (0, 1e3)}

    density: float
    deviation: float

    def apply(self, values: Floats, site: Site) -> Floats:
        """See the base class."""
        chance = uniform((*site.key, 0), site.place, len(values))
        noise = normal((*site.key, 1), site.place, len(values))
        limits = float(site.lowest.min()), float(site.highest.max())
        return add_noise(values, chance, noise, self.density, self.deviation, limits)


def zero_values(values: Floats, lost: np.ndarray) -> Floats:
    """Set what is lost, bool `(C, H, W)`, to zero."""
    return np.where(lost, np.float32(0), values)


def add_noise(
    values: Floats,
    chance: Floats,
    noise: Floats,
    density: float,
    deviation: float,
    limits: tuple[float, float],
) -> Floats:
    """Replace half of `density` by the least of `limits`, half by the largest; then add noise.

    Args:
        values: `(C, H, W)`, normalised.
        chance: uniform numbers of that shape, which choose the values to be replaced.
        noise: standard normal numbers of that shape.
        density: share of values that is replaced.
        deviation: of the noise that is added to all.
        limits: least and largest value.
    """
    peppered = np.where(chance < density / 2, np.float32(limits[0]), values)
    salted = np.where(chance >= 1 - density / 2, np.float32(limits[1]), peppered)
    return salted + np.float32(deviation) * noise
