"""Windows cover every pixel, stay inside, and are uniform."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.loading.windows import covering_starts, covering_windows, random_window


@pytest.mark.parametrize("length", [1, 7, 64, 100, 129])
@pytest.mark.parametrize(("window", "stride"), [(64, 64), (64, 32), (64, 1), (100, 33), (1, 1)])
def test_starts_cover_every_pixel(length: int, window: int, stride: int) -> None:
    starts = covering_starts(length, window, stride)
    seen = np.zeros(max(length, window), int)
    for start in starts:
        seen[start : start + window] += 1
    assert (seen[:length] > 0).all()
    assert starts == sorted(set(starts)) and starts[-1] == max(length - window, 0)


def test_potsdam_has_the_published_number_of_windows() -> None:
    # dossier 3.4: 12 x 12 windows of 512 px per 6000 px tile, 3456 / 2016 for 24 / 14 tiles
    assert len(covering_windows(6000, 6000, 512, 512)) * 24 == 3456
    assert len(covering_windows(6000, 6000, 512, 512)) * 14 == 2016


@pytest.mark.parametrize("stride", [0, 65])
def test_a_stride_that_leaves_pixels_unseen_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match="stride"):
        covering_starts(100, 64, stride)


def test_random_windows_are_uniform_over_all_positions() -> None:
    rng = np.random.default_rng(0)
    rows = [random_window(rng, 13, 40, 10).row for _ in range(4000)]
    counts = np.bincount(rows, minlength=4)
    assert len(counts) == 4
    # chi-square with 3 degrees of freedom: 16.3 is exceeded with probability 0.001
    assert ((counts - 1000) ** 2 / 1000).sum() < 16.3


def test_a_window_larger_than_the_scene_starts_at_its_corner() -> None:
    window = random_window(np.random.default_rng(0), 5, 6, 10)
    assert window == (0, 0, 10, 10)
