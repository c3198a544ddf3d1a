"""What holds for every shipped scenario, with every kind of sensor that suffers it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datamodules.damage.fields import Floats
from datamodules.store.reader import Window
from tests.support.damages import (
    CASES,
    SCENARIOS,
    SHAPE,
    damage_scene,
    layer_of,
    print_digests,
    scene_values,
    site_of,
)

ROOT = Path(__file__).resolve().parents[3]
# of windows of the scene: its corner, odd places, the edges of tiles, beyond its end, one pixel
PLACES = [(0, 0, 64, 64), (37, 55, 61, 70), (64, 128, 64, 64), (-13, -21, 50, 40), (149, 172, 1, 1)]
# more on all sides than any of these
AROUND = Window(-24, -31, SHAPE[0] + 80, SHAPE[1] + 90)


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[str, str, Floats]:
    name, kind = request.param
    return name, kind, damage_scene(SCENARIOS[name], kind, AROUND)


def test_windows_show_what_the_whole_scene_shows(case: tuple[str, str, Floats]) -> None:
    name, kind, whole = case
    for place in PLACES:
        part = damage_scene(SCENARIOS[name], kind, Window(*place))
        row, col = place[0] - AROUND.row, place[1] - AROUND.col
        expected = whole[..., row : row + place[2], col : col + place[3]]
        np.testing.assert_array_equal(part, expected, err_msg=str(place))


def test_values_are_finite_and_of_the_image_s_shape(case: tuple[str, str, Floats]) -> None:
    name, kind, whole = case
    channels = len(scene_values(kind))
    assert whole.dtype == np.float32
    assert whole.shape == (len(SCENARIOS[name].severities), channels, *AROUND[2:])
    assert np.isfinite(whole).all()


def test_a_stronger_severity_is_farther_from_the_clean_image(
    case: tuple[str, str, Floats],
) -> None:
    name, kind, whole = case
    values = scene_values(kind)
    clean = layer_of(values, kind).normalizer.standardize(values, "area")
    above, before = -AROUND.row, -AROUND.col
    below, after = AROUND.height - SHAPE[0] - above, AROUND.width - SHAPE[1] - before
    clean = np.pad(clean, ((0, 0), (above, below), (before, after)), "edge")
    errors = ((whole.astype(float) - clean) ** 2).mean(axis=(1, 2, 3))
    assert (np.diff([0, *errors]) > 0).all(), errors


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_image_given_stays_as_it_is(name: str) -> None:
    kind = (*SCENARIOS[name].kinds, "optical")[0]
    values = scene_values(kind).copy()
    before = values.copy()
    unit = "m" if kind.startswith("height") else "counts"
    for damage in SCENARIOS[name].severities.values():
        damage.apply(values, site_of(values, kind, unit, 255.0))
        np.testing.assert_array_equal(values, before)


def test_another_process_draws_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Python's own hashes differ between processes; none may enter a draw."""
    print_digests()
    command = [sys.executable, "-m", "tests.support.damages"]
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)}
    other = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert capsys.readouterr().out == other.stdout
