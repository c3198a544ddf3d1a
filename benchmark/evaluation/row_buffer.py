"""Stitch overlapping windows in bounded memory: only rows a later window can touch are held.

Three windows of 2 x 2 pixels, one row apart, slide down a scene of 4 x 2 pixels, and each adds its
own number:

    scene row   windows that cover it   sum
        0       1                        1     final once window 2 starts at row 1
        1       1, 2                     3     final once window 3 starts at row 2
        2       2, 3                     5     final at the end
        3       3                        3     final at the end

Never more than two rows are held, however high the scene is:

    >>> stitcher = WindowStitcher((1,), width=2)
    >>> for row in (0, 1, 2):
    ...     print(stitcher.pop_rows(row).tolist())
    ...     stitcher.add((row, 0, 2, 2), torch.full((1, 2, 2), row + 1.0))
    [[]]
    [[[1.0, 1.0]]]
    [[[3.0, 3.0]]]
    >>> stitcher.pop_rows(4).tolist()
    [[[5.0, 5.0], [3.0, 3.0]]]
"""

from types import EllipsisType
from typing import Any

import torch
from torch import Tensor

Place = tuple[int, int, int, int]  # row, column, height, width of a window in its scene


class RowBuffer:
    """A tensor `(*leading, rows, width)` that slides down a scene; fresh rows hold `fill`.

    `options` are `dtype` and `device`.
    """

    def __init__(
        self, leading: tuple[int, ...], width: int, fill: float = 0, **options: Any
    ) -> None:
        self.fill, self.top = fill, 0
        self.values = torch.zeros(*leading, 0, width, **options)

    @property
    def held_rows(self) -> int:
        """Number of rows in memory."""
        return self.values.shape[-2]

    def view(self, place: Place) -> Tensor:
        """View a rectangle whose rows are held, `(..., height, width)`."""
        row, col, height, width = place
        return self.values[..., row - self.top : row - self.top + height, col : col + width]

    def extend_to(self, bottom: int) -> None:
        """Make room for the rows above `bottom`."""
        missing = bottom - self.top - self.held_rows
        if missing > 0:
            shape = (*self.values.shape[:-2], missing, self.values.shape[-1])
            # only at the first row of windows, or where a batch spans two: later rows are recycled
            self.values = torch.cat([self.values, self.values.new_full(shape, self.fill)], dim=-2)

    def rows_above(self, row: int) -> Tensor:
        """View the held rows above `row`, `(..., rows, width)`."""
        return self.values[..., : max(row - self.top, 0), :]

    def discard_above(self, row: int) -> None:
        """Forget the rows above `row` and shift the others up."""
        final = min(row - self.top, self.held_rows)
        if final <= 0:
            return
        kept = self.held_rows - final
        # one entry of the first axis at a time: source and target overlap, and a copy of everything
        # would double memory
        for part in self.values:
            part[..., :kept, :] = part[..., final:, :].clone()
            part[..., kept:, :] = self.fill
        self.top += final


class WindowStitcher(RowBuffer):
    """Sums, or weighted means, of what overlapping windows say about a scene.

    Weights may be integers: with float64 sums, equal values in all windows then come back exactly
    (24 bits of a value, 2 log2 of a weight and a few for the number of windows stay below 53), so
    that a network which looks at single pixels gives the same map with and without windows.

    Args:
        leading: sizes of the axes before rows and columns, `(classes,)` or `(subsets, classes)`.
        width: of the scene in pixels.
        weights: `(h, w)` of a window; then `pop_rows` gives means. Needs a single leading axis.
    """

    def __init__(
        self, leading: tuple[int, ...], width: int, weights: Tensor | None = None, **options: Any
    ) -> None:
        # the last entry of the first axis is the sum of weights
        first = leading[0] + (weights is not None)
        super().__init__((first, *leading[1:]), width, **options)
        self.weights = weights

    def add(
        self,
        place: Place,
        values: Tensor,
        entry: int | EllipsisType = ...,
        valid: Tensor | None = None,
    ) -> None:
        """Add `values`, `(..., h, w)`, of a window to the sums of all entries or of one.

        What of its `place` lies beyond the scene is passed over, as are pixels that are not `valid`
        (bool `(h, w)`) in means.
        """
        row, col, height, width = place
        top, left = max(0, -row), max(0, -col)
        right = min(width, self.values.shape[-1] - col)
        self.extend_to(row + height)
        here = self.view((row + top, col + left, height - top, right - left))
        values = values[..., top:height, left:right]
        if self.weights is None:
            here[entry] += values
            return
        weights = self.weights if valid is None else self.weights * valid
        weights = weights[top:height, left:right]
        here[:-1].addcmul_(weights, values.to(self.values.dtype))
        here[-1] += weights

    def pop_rows(self, row: int) -> Tensor:
        """Return sums or means `(..., rows, width)` of the held rows above `row`, and forget them.

        Means are nan where no window had a weight.
        """
        self.extend_to(row)
        rows = self.rows_above(row)
        rows = rows.clone() if self.weights is None else rows[:-1] / rows[-1]
        self.discard_above(row)
        return rows
