"""The grids of windows against what a map needs of it, counted pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmark.maps.window_grid import Rows, plain_rows, sheared_rows

PATCH = 32


@pytest.mark.parametrize("window", [1, 2, 7, 16])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 40), (33, 18)])
@pytest.mark.parametrize("grid", [plain_rows, sheared_rows])
def test_every_pixel_is_covered_and_final_when_the_row_says_so(
    window: int, height: int, width: int, grid: Callable[..., Rows]
) -> None:
    for stride in range(1, window + 1):
        seen = np.zeros((height + 2 * window, width + 2 * window), int)
        above = 0
        for final, places in grid(height, width, window, stride):
            assert above <= final <= height
            for row, col in places:
                assert row >= above or above == 0, "a window reaches into rows that are given out"
                assert -window < row < height and -window < col < width
                seen[row + window : row + 2 * window, col + window : col + 2 * window] += 1
            above = final
        assert above == height and seen[window:-window, window:-window].min() > 0


def test_pixels_at_the_border_have_as_many_windows_as_others() -> None:
    seen = np.zeros((300, 300), int)
    for _, places in sheared_rows(200, 200, 48, 12):
        for row, col in places:
            seen[max(row, 0) : row + 48, max(col, 0) : col + 48] += 1
    assert seen[:200, :200].mean() == pytest.approx(16, abs=0.2)
    assert abs(seen[:200, :8].mean() - 16) < 0.5 and abs(seen[192:200, :200].mean() - 16) < 0.5


@pytest.mark.parametrize("stride", [16, 17, 20, 24, 32])
def test_windows_over_a_pixel_cut_patches_at_many_places(stride: int) -> None:
    """At more than those of a plain grid: as many as its windows that lie side by side."""
    window, pixel = 128, (300, 280)
    places = [place for _, row in sheared_rows(640, 640, window, stride) for place in row]
    over = [
        p for p in places if all(0 <= x - start < window for x, start in zip(pixel, p, strict=True))
    ]
    assert len(over) == pytest.approx((window / stride) ** 2, rel=0.15)
    square = {index * stride % PATCH for index in range(-(-window // stride))}
    for axis in (0, 1):
        assert len({place[axis] % PATCH for place in over}) > len(square)


def test_a_stride_beyond_the_window_is_an_error() -> None:
    for grid in (plain_rows, sheared_rows):
        with pytest.raises(ValueError, match="between 1 and the window"):
            next(grid(10, 10, 8, 9))
