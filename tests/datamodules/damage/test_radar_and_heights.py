"""Damage of radar and height models against its definitions."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.damage.fields import field_key
from datamodules.damage.heights import Offset, Ripples, Scale, Tilt
from datamodules.damage.radar import Calibration, Speckle
from tests.support.damages import scene_values, site_of
from usererror import UserError

HEIGHTS = scene_values("height_absolute")


@pytest.mark.parametrize("looks", [8, 4, 2, 1])
def test_speckle_has_mean_1_and_variance_1_over_looks_in_power(looks: float) -> None:
    flat = np.full((1, 400, 400), -12, np.float32)
    power = 10 ** (Speckle(looks).apply(flat, site_of(flat, "sar")).astype(float) / 10)
    speckle = power / 10**-1.2
    number = flat.size
    assert speckle.mean() == pytest.approx(1, abs=5 * np.sqrt(1 / looks / number))
    # of Gamma(L, 1/L): kurtosis 3 + 6/L, whence the variance of the variance
    spread = np.sqrt((2 + 6 / looks) / number)
    assert speckle.var() == pytest.approx(1 / looks, rel=5 * spread)


def test_a_wrong_calibration_is_exact_in_decibels() -> None:
    stored = np.linspace(-40, 10, 200, dtype=np.float32).reshape(1, 10, 20)
    shifted = Calibration(3).apply(stored, site_of(stored, "sar"))
    np.testing.assert_array_equal(shifted, stored + np.float32(3))


@pytest.mark.parametrize("damage", [Calibration(3), Speckle(1)], ids=["calibration", "speckle"])
def test_linear_backscatter_stays_in_its_range_of_decibels(damage: Calibration | Speckle) -> None:
    stored = np.linspace(-25, 0, 4000, dtype=np.float32).reshape(1, 40, 100)
    found = damage.apply(stored, site_of(stored, "sar_linear"))
    free = damage.apply(stored, site_of(stored, "sar"))
    np.testing.assert_array_equal(found, np.clip(free, -25, 0))
    assert (found != free).any()


@pytest.mark.parametrize(
    ("unit", "expected"), [("m", 2), ("dm", 20), ("cm", 200), ("mm", 2000), ("ft", 2 / 0.3048)]
)
def test_offsets_are_in_metres_whatever_the_unit(unit: str, expected: float) -> None:
    values = np.zeros((1, 8, 9), np.float32)
    found = Offset(2).apply(values, site_of(values, "height_absolute", unit))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_metres_of_another_unit_are_refused() -> None:
    values = np.zeros((1, 8, 9), np.float32)
    for damage in (Offset(2), Tilt(1), Ripples(1)):
        with pytest.raises(UserError, match="'counts'.*m, dm, cm"):
            damage.apply(values, site_of(values, "height_absolute", "counts"))


def test_the_ground_keeps_its_height_when_the_scale_is_wrong() -> None:
    site = site_of(HEIGHTS, "height_absolute", "m")
    found = Scale(0.2).apply(HEIGHTS, site).astype(float)
    ground = float(np.percentile(HEIGHTS, 5))
    np.testing.assert_allclose(found - ground, 1.2 * (HEIGHTS - ground), atol=1e-3)


def test_tilt_is_a_plane_of_the_slope() -> None:
    values = np.zeros((1, 240, 200), np.float32)
    directions = []
    for number in range(8):
        site = site_of(values, "height_absolute", "m", key=field_key("tilt", number))
        plane = Tilt(1.5).apply(values, site)[0].astype(float)
        down, right = np.gradient(plane, axis=0), np.gradient(plane, axis=1)
        np.testing.assert_allclose(np.hypot(down, right) * 100, 1.5, rtol=1e-3)
        directions.append(np.arctan2(down.mean(), right.mean()))
    assert np.ptp(directions) > 1


def test_ripples_have_the_deviation_and_the_correlation_in_all_directions() -> None:
    length, side = 16, 1000
    values = np.zeros((1, side, side), np.float32)
    errors = Ripples(2, length).apply(values, site_of(values, "height_absolute", "m"))
    errors = errors[0].astype(float)
    # as many independent numbers as the integral of the squared correlation has room for
    scatter = np.sqrt(np.pi * length**2 / 2) / side
    assert errors.var() == pytest.approx(4, rel=5 * np.sqrt(2) * scatter)
    for down, right in ((0, 4), (16, 0), (0, 16), (11, 11), (24, 0), (0, 48)):
        one = errors[down:, right:]
        other = errors[: side - down, : side - right]
        expected = np.exp(-(down**2 + right**2) / length**2)
        assert (one * other).mean() / 4 == pytest.approx(expected, abs=5 * np.sqrt(2) * scatter)
