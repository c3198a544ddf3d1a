"""What satellites make of painted country: 13 optical bands, radar (VV and VH), heights."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.miniature.landscape.country import (
    COVERS,
    GSD,
    INDEX,
    Country,
    Mask,
    fractal_noise,
)

LIGHT = np.array([0.6, -0.5])  # how rows and columns that rise catch the sun of the morning
VARIETY = 0.16  # relative, of each band
ALIKE = 2.5  # bands over which it is smooth
LOOKED = 1.6  # how a slope towards the radar brightens it, per unit of slope
FOREST_M, TOWN_M = 9.0, 5.0  # what a model of the surface stands on


def multispectral(country: Country, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return 10,000 times the reflectance in the 13 bands, `(13, H, W)`."""
    percent = np.array([cover.percent for cover in COVERS])[country.cover]
    grain = np.array([cover.grain for cover in COVERS])[country.cover]
    shape = grain.shape
    down, right = np.gradient(country.elevation, GSD)
    light = np.clip(1 + LIGHT[0] * down + LIGHT[1] * right, 0.6, 1.3)
    # water has a level, and its own colour from place to place
    light = np.where(country.holds("water"), 1 + 0.1 * fractal_noise(rng, shape, 20), light)
    texture = 1 + grain * rng.normal(0, 1, shape)
    bands = np.moveaxis(percent, -1, 0) * (light * texture * country.shade)
    bands *= rng.normal(1, 0.04) * np.exp(rng.normal(0, 0.015, (13, 1, 1)))  # the day's air
    # age and moisture make every place a little different, and neighbouring bands vary alike
    variety = np.stack([fractal_noise(rng, shape, 15) for _ in bands])
    variety = ndimage.gaussian_filter1d(variety, ALIKE, axis=0)
    bands *= np.exp(VARIETY / variety.std() * variety)
    bands = ndimage.gaussian_filter(bands, (0, 0.6, 0.6))
    bands += rng.normal(0, 0.25, bands.shape)
    return np.clip(np.rint(100 * bands), 1, 10_000).astype(np.uint16)


def backscatter(
    country: Country, rng: np.random.Generator, looks: int, flooded: Mask | None = None
) -> NDArray[np.float32]:
    """Return linear VV and VH, `(2, H, W)`; ground that is `flooded` is as smooth as water."""
    cover = country.cover
    if flooded is not None:
        cover = np.where(flooded, INDEX["water"], cover)
    quiet = 10 ** (np.array([[cover.vv, cover.vh] for cover in COVERS]) / 10)
    grain = np.array([cover.grain for cover in COVERS])[cover]
    towards = np.gradient(country.elevation, GSD)[1]
    slope = np.clip(1 + LOOKED * towards, 0.15, 2.5)
    wind = np.exp(0.25 * fractal_noise(rng, cover.shape, 25))  # and how wet the ground is
    texture = np.clip(1 + 1.5 * grain * rng.normal(0, 1, cover.shape), 0.1, None)
    mean = np.moveaxis(quiet[cover], -1, 0) * (slope * wind * texture)
    speckle = rng.gamma(looks, 1 / looks, mean.shape)
    return (mean * speckle).astype(np.float32)


def surface_heights(country: Country, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return metres above the sea as a mission from space gives them, `(1, H, W)`."""
    top = FOREST_M * country.holds("forest") + TOWN_M * country.holds("town")
    heights = ndimage.gaussian_filter(country.elevation + top, 1.5)  # 30 m, brought onto 10 m
    noise = 0.5 * fractal_noise(rng, heights.shape, 3)
    return (heights + noise).astype(np.float32)[None]


def rise(country: Country, stage: float) -> Mask:
    """Return the ground that is flooded when the river stands `stage` metres higher.

    Example:
        >>> from datamodules.miniature.landscape.country import paint_country
        >>> country = paint_country((64, 64), np.random.default_rng(0))
        >>> [bool(rise(country, stage).any()) for stage in (0.0, 2.0)]
        [False, True]
    """
    pieces, _ = ndimage.label(country.above < stage)
    # a hollow that the river does not reach stays dry
    reached = np.unique(pieces[(country.above == 0) & country.holds("water")])
    return np.isin(pieces, reached[reached > 0]) & ~country.holds("water")
