"""Blended windows against what is true of any weighted mean."""

from __future__ import annotations

import pytest
import torch

from benchmark.blending import Blend, panels, tent
from datamodules.windows import covering_windows


def blended(field: torch.Tensor, window: int, stride: int, most: int, valid: torch.Tensor) -> torch.Tensor:
    """What windows that show parts of one field K x H x W blend to, rows as soon as they are final."""
    outputs, height, width = field.shape
    padded = torch.zeros(outputs, height + window, width + window)
    padded[:, :height, :width] = field
    seen = torch.zeros(height + window, width + window, dtype=torch.bool)
    seen[:height, :width] = valid
    rows = sorted({place.row for place in covering_windows(height, width, window, stride)})
    parts = []
    for left, right, starts in panels(width, window, stride, most):
        blend, pieces = Blend(outputs, right - left, window), []
        for row, end in zip(rows, [*rows[1:], height], strict=True):
            for col in starts:
                here = (slice(row, row + window), slice(col, col + window))
                blend.add((row, col - left, window, window), padded[(slice(None), *here)], seen[here])
            pieces.append(blend.take(end))
        parts.append(torch.cat(pieces, 1))
    return torch.cat(parts, 2)


@pytest.mark.parametrize(("window", "stride"), [(16, 4), (16, 16), (16, 7), (7, 3), (64, 16)])
@pytest.mark.parametrize(("height", "width"), [(50, 37), (12, 70)])
@pytest.mark.parametrize("most", [1000, 20])
def test_a_field_comes_back_exactly(window: int, stride: int, height: int, width: int, most: int) -> None:
    """Weights sum to one in every pixel: equal values stay, to the last bit, at any grid, size and panel."""
    generator = torch.Generator().manual_seed(window + width)
    # of very different sizes, so that a rounding anywhere would show
    field = torch.randn(3, height, width, generator=generator) * 10 ** torch.randint(-6, 6, (3, height, width))
    valid = torch.rand(height, width, generator=generator) < 0.9
    found = blended(field, window, stride, most, valid)
    assert torch.equal(found[:, valid], field[:, valid].double())
    assert found[:, ~valid].isnan().all()


def test_two_windows_fade_into_each_other() -> None:
    """The upper window says 0, the lower 1: between them a ramp with the weights of a tent, by hand."""
    blend = Blend(1, 4, 4)
    blend.add((0, 0, 4, 4), torch.zeros(1, 4, 4), torch.ones(4, 4).bool())
    blend.add((2, 0, 4, 4), torch.ones(1, 4, 4), torch.ones(4, 4).bool())
    # rows 2 and 3 weigh 2 and 1 in the upper window, 1 and 2 in the lower
    expected = torch.tensor([0, 0, 1 / 3, 2 / 3, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(blend.take(6)[0], expected[:, None].expand(6, 4))


def test_the_tent_is_symmetric_and_positive() -> None:
    assert tent(4).tolist() == [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
    weights = tent(5)
    assert torch.equal(weights, weights.T) and torch.equal(weights, weights.flip(0)) and weights.min() == 1


def test_held_rows_do_not_grow_with_the_height() -> None:
    blend, most = Blend(2, 64, 32), 0
    for row in range(0, 1600, 16):
        blend.add((row, 0, 32, 32), torch.zeros(2, 32, 32), torch.ones(32, 32).bool())
        most = max(most, blend.sums.rows)
        assert blend.take(row + 16).shape == (2, 16, 64)
    assert most == 32


def test_panels_cover_the_scene_and_bound_it() -> None:
    found = list(panels(1000, 64, 16, 300))
    assert [(left, right) for left, right, _ in found] == [(0, 300), (300, 600), (600, 900), (900, 1000)]
    for left, right, starts in found:
        assert all(start < right and start + 64 > left for start in starts)
        assert {col for start in starts for col in range(start, start + 64)} >= set(range(left, right))
