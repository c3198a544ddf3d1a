"""Painted country: water lies low, floods spread from the river, sensors see what they should."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from datamodules.miniature.landscape.country import COVERS, Country, fractal_noise, paint_country
from datamodules.miniature.landscape.satellites import (
    backscatter,
    multispectral,
    rise,
    surface_heights,
)

SHAPE = (96, 130)


@pytest.fixture(scope="module")
def country() -> Country:
    return paint_country(SHAPE, np.random.default_rng(3))


def test_noise_has_forms_of_the_size_that_is_asked_for() -> None:
    steps = []
    for size in (5, 20):
        field = fractal_noise(np.random.default_rng(0), SHAPE, size)
        assert field.mean() == pytest.approx(0, abs=1e-9)
        assert field.std() == pytest.approx(1)
        steps.append(np.diff(field).std())
    assert steps[0] > 2 * steps[1]


def test_every_size_has_water_and_what_the_seed_says() -> None:
    for side in (32, 64, 200):
        painted = [paint_country((side, side), np.random.default_rng([side, 1])) for _ in range(2)]
        assert painted[0].holds("water").any()
        assert np.array_equal(painted[0].cover, painted[1].cover)
        assert np.array_equal(painted[0].elevation, painted[1].elevation)


def test_every_cover_occurs_somewhere() -> None:
    seen = [paint_country((256, 256), np.random.default_rng(seed)).cover for seed in range(3)]
    assert set(np.unique(seen)) == set(range(len(COVERS)))


def test_floods_spread_over_low_ground_from_the_river(country: Country) -> None:
    for stage in (1.0, 2.5):
        low = country.above < stage
        river = (country.above == 0) & country.holds("water")
        reached, waiting = river.copy(), deque(np.argwhere(river).tolist())
        while waiting:  # pixel by pixel
            row, column = waiting.popleft()
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                y, x = row + down, column + right
                inside = 0 <= y < SHAPE[0] and 0 <= x < SHAPE[1]
                if inside and low[y, x] and not reached[y, x]:
                    reached[y, x] = True
                    waiting.append([y, x])
        assert np.array_equal(rise(country, stage), reached & ~country.holds("water"))


def test_radar_is_dark_over_water_and_flood_and_bright_over_towns(country: Country) -> None:
    flooded = rise(country, 2.0)
    linear = backscatter(country, np.random.default_rng(0), 8, flooded)
    vv, vh = 10 * np.log10([[band[where].mean() for where in (
        country.holds("water"), flooded, country.holds("forest") & ~flooded,
        country.holds("town") & ~flooded,
    )] for band in linear])  # fmt: skip
    assert abs(vv[0] - vv[1]) < 3 and vv[1] < vv[2] - 5 < vv[3]
    assert (vh < vv).all() and linear.dtype == np.float32


def test_optical_pictures_tell_water_by_its_infrared(country: Country) -> None:
    bands = multispectral(country, np.random.default_rng(0)).astype(float)
    water = country.holds("water")
    assert bands.shape == (13, *SHAPE)
    assert bands[7][water].mean() < bands[2][water].mean()
    assert bands[7][~water].mean() > 2 * bands[2][~water].mean()


def test_what_is_alike_to_one_sensor_is_apart_to_another() -> None:
    country = paint_country((256, 256), np.random.default_rng(1))
    bands = multispectral(country, np.random.default_rng(0)).astype(float)
    decibels = 10 * np.log10(backscatter(country, np.random.default_rng(0), 12))

    def apart(pictures: np.ndarray, one: str, other: str) -> float:
        """Distance of the means of two covers in deviations, in the band where it is largest."""
        parts = [pictures[:, country.holds(name)] for name in (one, other)]
        spread = np.sqrt((parts[0].var(1) + parts[1].var(1)) / 2)
        return float((abs(parts[0].mean(1) - parts[1].mean(1)) / spread).max())

    assert apart(bands, "soil", "town") < 1 < 3 < apart(decibels, "soil", "town")
    assert apart(decibels, "sand", "water") < 1 < 3 < apart(bands, "sand", "water")
    assert apart(bands, "wetland", "paddy") < 1 and apart(decibels, "wetland", "paddy") < 1
    height = country.above[None]
    assert apart(height, "wetland", "paddy") > 1


def test_heights_from_space_are_those_of_the_ground(country: Country) -> None:
    apart = surface_heights(country, np.random.default_rng(0))[0] - country.elevation
    assert abs(np.median(apart)) < 6 and apart.std() < 8
