"""Blended windows against what is true of any weighted mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmark.evaluation.row_buffer import WindowStitcher
from benchmark.maps.window_grid import plain_rows, sheared_rows, window_weights


def blender(outputs: int, width: int, window: int) -> WindowStitcher:
    weights = window_weights(window).double()
    return WindowStitcher((outputs,), width, weights, dtype=torch.float64)


def blended(
    field: torch.Tensor, window: int, stride: int, valid: torch.Tensor, rows: Callable[..., Any]
) -> torch.Tensor:
    """Blend windows that show parts of one field (K, H, W), rows as soon as they are final."""
    outputs, height, width = field.shape
    padded = torch.zeros(outputs, height + 2 * window, width + 2 * window)
    padded[:, window:-window, window:-window] = field
    seen = torch.zeros(padded.shape[1:], dtype=torch.bool)
    seen[window:-window, window:-window] = valid
    blend, pieces = blender(outputs, width, window), []
    for final, places in rows(height, width, window, stride):
        for row, col in places:
            here = (slice(row + window, row + 2 * window), slice(col + window, col + 2 * window))
            blend.add((row, col, window, window), padded[(slice(None), *here)], valid=seen[here])
        pieces.append(blend.pop_rows(final))
    return torch.cat(pieces, 1)


@pytest.mark.parametrize(("window", "stride"), [(16, 4), (16, 16), (16, 7), (7, 3), (64, 16)])
@pytest.mark.parametrize(("height", "width"), [(50, 37), (12, 70)])
@pytest.mark.parametrize("rows", [plain_rows, sheared_rows])
def test_a_field_comes_back_exactly(
    window: int, stride: int, height: int, width: int, rows: Callable[..., Any]
) -> None:
    """Weights sum to one in every pixel: equal values stay, to the last bit, at any grid."""
    generator = torch.Generator().manual_seed(window + width)
    # of very different sizes, so that a rounding anywhere would show
    field = torch.randn(3, height, width, generator=generator) * 10 ** torch.randint(
        -6, 6, (3, height, width)
    )
    valid = torch.rand(height, width, generator=generator) < 0.9
    found = blended(field, window, stride, valid, rows)
    assert torch.equal(found[:, valid], field[:, valid].double())
    assert found[:, ~valid].isnan().all()


def test_two_windows_fade_into_each_other() -> None:
    """The upper window says 0, the lower 1: between them a slope with the weights of both."""
    blend = blender(1, 32, 32)
    blend.add((0, 0, 32, 32), torch.zeros(1, 32, 32), valid=torch.ones(32, 32).bool())
    blend.add((26, 0, 32, 32), torch.ones(1, 32, 32), valid=torch.ones(32, 32).bool())
    # rows 26 to 31 weigh 4, 4, 4, 3, 2, 1 in the upper window, 1, 2, 3, 4, 4, 4 in the lower
    slope = torch.tensor([1 / 5, 2 / 6, 3 / 7, 4 / 7, 4 / 6, 4 / 5], dtype=torch.float64)
    expected = torch.cat(
        [torch.zeros(26, dtype=torch.float64), slope, torch.ones(26, dtype=torch.float64)]
    )
    torch.testing.assert_close(blend.pop_rows(58)[0], expected[:, None].expand(58, 32))


def test_the_ramp_is_symmetric_and_positive() -> None:
    assert window_weights(4).tolist() == [[1] * 4] * 4
    assert window_weights(16)[1].tolist() == [2] + [4] * 14 + [2] and window_weights(16)[
        0
    ].tolist() == [1] + [2] * 14 + [1]
    weights = window_weights(37)
    assert (
        torch.equal(weights, weights.T)
        and torch.equal(weights, weights.flip(0))
        and weights.min() == 1
    )


def test_held_rows_do_not_grow_with_the_height() -> None:
    blend, most = blender(2, 64, 32), 0
    for row in range(0, 1600, 16):
        blend.add((row, 0, 32, 32), torch.zeros(2, 32, 32), valid=torch.ones(32, 32).bool())
        most = max(most, blend.held_rows)
        assert blend.pop_rows(row + 16).shape == (2, 16, 64)
    assert most == 32
