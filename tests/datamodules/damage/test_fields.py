"""Random fields have the distribution they claim, wherever they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from datamodules.damage.fields import (
    TILE,
    Floats,
    field_key,
    fractal,
    gamma,
    normal,
    of_scene,
    smooth,
    uniform,
)
from datamodules.store.reader import Window

KEY = field_key("a scenario", "a scene")
PLACE = Window(-100, 37, 300, 290)


def test_the_marginals_are_those_of_the_distributions() -> None:
    # Kolmogorov and Smirnov: no larger distance than chance has in one of a thousand draws
    for drawn, law in (
        (uniform(KEY, PLACE), stats.uniform()),
        (normal(KEY, PLACE), stats.norm()),
        (gamma(KEY, PLACE, 4.0), stats.gamma(4, scale=1 / 4)),
        ([of_scene((*KEY, number)) for number in range(2000)], stats.uniform()),
    ):
        assert stats.kstest(np.ravel(drawn), law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("cell", [3, 16, 100])
def test_smooth_fields_have_mean_0_and_deviation_1_at_every_pixel(cell: int) -> None:
    place = Window(-7, 11, 40, 40)
    drawn = np.stack([smooth((*KEY, number), place, cell)[0] for number in range(1500)])
    # of 1500 draws: five standard errors
    assert np.abs(drawn.mean(0)).max() < 5 / np.sqrt(1500)
    assert np.abs(drawn.var(0) - 1).max() < 5 * np.sqrt(2 / 1500)


def test_fractal_fields_are_normal() -> None:
    drawn = [fractal((*KEY, number), Window(5, 5, 1, 1), 32).item() for number in range(1500)]
    assert stats.kstest(drawn, "norm").pvalue > 1e-3


def test_smooth_fields_change_over_their_cell_and_no_less() -> None:
    cell = 32
    field = smooth(KEY, Window(0, 0, 2048, 2048), cell)[0]

    def correlation(distance: int) -> float:
        return float((field[:, distance:] * field[:, : field.shape[1] - distance]).mean())

    assert correlation(1) > 0.99
    assert 0.3 < correlation(cell // 2 + cell // 4) < 0.8
    # no corner is shared: 4096 cells, so that 0.08 is five standard errors
    assert abs(correlation(2 * cell)) < 0.08


def test_tiles_and_keys_and_channels_have_nothing_in_common() -> None:
    def correlation(one: Floats, other: Floats) -> float:
        return abs(float(np.corrcoef(one.ravel(), other.ravel())[0, 1]))

    first = normal(KEY, Window(0, 0, TILE, TILE), 2)
    others = [
        normal(KEY, Window(0, TILE, TILE, TILE)),
        normal(KEY, Window(-TILE, 0, TILE, TILE)),
        normal(field_key("a scenario", "another"), Window(0, 0, TILE, TILE)),
        first[1],
    ]
    # five standard errors of 4096 pairs
    assert max(correlation(first[0], other) for other in others) < 5 / TILE
