"""Overlapping windows blended into one map: the weights of every pixel sum to one, exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.evaluation.row_buffer import Place, RowBand


def ramp(window: int) -> Tensor:
    """int64 window x window: level in the middle and falling to 1 over an eighth of the window at each border.

    Nearly level, because a mean of many windows is the steadier the more alike they weigh; not quite, because networks
    are least sure at the borders of what they see (docs/predict.md).
    """
    near = torch.arange(1, window + 1)
    side = torch.minimum(near, near.flip(0)).clamp(max=max(window // 8, 1))
    return side[:, None] * side


class Blend:
    """Weighted mean of what windows say about a scene that is `width` pixels wide, given out as soon as it is final.

    Weights are integers and sums float64: with equal values v in all windows the sum of w v and its division by the sum
    of w are exact (24 bits of v, 2 log2(window / 8) of a weight, a few for the number of windows: below 53), so that
    a network which looks at single pixels gives the same map with and without windows.
    """

    def __init__(self, outputs: int, width: int, window: int) -> None:
        self.weights = ramp(window).double()
        # the last entry of the first axis is the sum of weights
        self.sums = RowBand((outputs + 1,), width, dtype=torch.float64)

    def add(self, window: Place, values: Tensor, valid: Tensor) -> None:
        """Take in one window.

        Args:
            window: (row, col, height, width); what lies beyond the scene is passed over.
            values: float outputs x height x width.
            valid: bool height x width; False keeps a pixel out.
        """
        row, col, height, width = window
        top, left, right = max(0, -row), max(0, -col), min(width, self.sums.values.shape[-1] - col)
        weights = (self.weights * valid)[top:, left:right]
        self.sums.reach(row + height)
        here = self.sums.at((row + top, col + left, height - top, right - left))
        here[:-1] += weights * values[:, top:, left:right].double()
        here[-1] += weights

    def take(self, row: int) -> Tensor:
        """float64 outputs x rows x width of the rows above `row`, NaN where nothing was valid; they are let go."""
        self.sums.reach(row)
        sums = self.sums.values[:, : row - self.sums.top]
        means = sums[:-1] / sums[-1]
        self.sums.drop(row)
        return means
