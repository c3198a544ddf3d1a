"""The rows of a scene that later windows can still touch: what stitching holds in place of the whole scene."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Place = tuple[int, int, int, int]  # row, col, height, width inside the scene


class RowBand:
    """A tensor A x ... x rows x width that slides down a scene.

    Args:
        leading: sizes of the axes before rows and columns; at least one.
        width: of the scene, pixels.
        fill: value of fresh rows.
        options: `dtype` and `device`.
    """

    def __init__(
        self, leading: tuple[int, ...], width: int, fill: float = 0, **options: Any
    ) -> None:
        self.fill, self.top = fill, 0
        self.values = torch.zeros(*leading, 0, width, **options)

    @property
    def rows(self) -> int:
        """How many rows are held."""
        return self.values.shape[-2]

    def at(self, place: Place) -> Tensor:
        """View A x ... x height x width of a rectangle whose rows are held."""
        row, col, height, width = place
        return self.values[..., row - self.top : row - self.top + height, col : col + width]

    def reach(self, bottom: int) -> None:
        """Hold the rows above `bottom`; makes room at the first window, and where a batch spans several bands."""
        missing = bottom - self.top - self.rows
        if missing > 0:
            shape = (*self.values.shape[:-2], missing, self.values.shape[-1])
            self.values = torch.cat([self.values, self.values.new_full(shape, self.fill)], dim=-2)

    def drop(self, row: int) -> None:
        """Let go of the rows above `row` and move the others up, one entry of the first axis at a time."""
        final = min(row - self.top, self.rows)
        if final <= 0:
            return
        kept = self.rows - final
        for part in self.values:
            part[..., :kept, :] = part[..., final:, :].clone()
            part[..., kept:, :] = self.fill
        self.top += final
