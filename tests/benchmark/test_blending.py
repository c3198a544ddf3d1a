"""Blended windows against what is true of any weighted mean."""

from __future__ import annotations

import pytest
import torch

from benchmark.blending import Blend, tent
from benchmark.lattice import strips


def blended(field: torch.Tensor, window: int, stride: int, valid: torch.Tensor) -> torch.Tensor:
    """What windows that show parts of one field K x H x W blend to, rows as soon as they are final."""
    outputs, height, width = field.shape
    padded = torch.zeros(outputs, height + 2 * window, width + 2 * window)
    padded[:, window:-window, window:-window] = field
    seen = torch.zeros(padded.shape[1:], dtype=torch.bool)
    seen[window:-window, window:-window] = valid
    blend, pieces = Blend(outputs, width, window), []
    for final, places in strips(height, width, window, stride):
        for row, col in places:
            here = (slice(row + window, row + 2 * window), slice(col + window, col + 2 * window))
            blend.add((row, col, window, window), padded[(slice(None), *here)], seen[here])
        pieces.append(blend.take(final))
    return torch.cat(pieces, 1)


@pytest.mark.parametrize(("window", "stride"), [(16, 4), (16, 16), (16, 7), (7, 3), (64, 16)])
@pytest.mark.parametrize(("height", "width"), [(50, 37), (12, 70)])
def test_a_field_comes_back_exactly(window: int, stride: int, height: int, width: int) -> None:
    """Weights sum to one in every pixel: equal values stay, to the last bit, at any grid and size."""
    generator = torch.Generator().manual_seed(window + width)
    # of very different sizes, so that a rounding anywhere would show
    field = torch.randn(3, height, width, generator=generator) * 10 ** torch.randint(-6, 6, (3, height, width))
    valid = torch.rand(height, width, generator=generator) < 0.9
    found = blended(field, window, stride, valid)
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
