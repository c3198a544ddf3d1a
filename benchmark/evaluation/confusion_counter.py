"""From window logits to confusion counts: each pixel of a scene scored once, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from benchmark.evaluation.row_buffer import Place, RowBand
from datamodules.store.scene_store import IGNORE

Stitching = Literal["logits", "probabilities"]


def block_grid(height: int, width: int, block: int) -> tuple[int, int]:
    """Rows and columns of blocks of about `block` pixels a side."""
    return max(1, round(height / block)), max(1, round(width / block))


class SceneCounter:
    """Counts of one scene for all subsets: int64 subsets x blocks x regions x labels x outputs.

    Where windows overlap their logits (or probabilities) are summed before the argmax. The windows come row by row, so
    only the rows that a later window can still touch are held: memory grows with the width of the scene, the number of
    subsets and of outputs, and with the window, not with the height of the scene. Where no two windows overlap nothing
    is held at all.

    Args:
        height, width: of the scene, pixels.
        places: all windows of the scene, row by row.
        subsets, regions, labels, outputs: sizes of the axes.
        block: approximate side of a block in pixels.
        stitching: what is summed.
        device: where the logits live.
    """

    def __init__(
        self,
        height: int,
        width: int,
        places: Sequence[Place],
        subsets: int,
        regions: int,
        labels: int,
        outputs: int,
        block: int = 1000,
        stitching: Stitching = "logits",
        device: torch.device | str = "cpu",
    ) -> None:
        self.height, self.width, self.subsets, self.stitching = height, width, subsets, stitching
        self.regions, self.labels, self.outputs, self.device = (
            regions,
            labels,
            outputs,
            torch.device(device),
        )
        self.blocks = block_grid(height, width, block)
        self.remaining = len(places)
        self.disjoint = sum(place[2] * place[3] for place in places) == height * width
        self.bins = self.blocks[0] * self.blocks[1] * regions * labels * outputs
        self.counts = torch.zeros(subsets, self.bins, dtype=torch.int64, device=self.device)
        self.seen: set[int] = set()  # subsets whose modalities the scene has
        self.sums = RowBand((subsets, outputs), width, device=self.device)
        self.base = RowBand((1,), width, fill=-1, dtype=torch.int64, device=self.device)
        self._window_base: dict[Place, Tensor] = {}

    def prepare(
        self, places: Sequence[Place], masks: Sequence[Tensor], regions: Sequence[Tensor]
    ) -> None:
        """Announce the next windows, in order: rows above them are final and are counted now.

        Args:
            places: windows of the coming batch that lie in this scene.
            masks: int64 H x W label ids (255 = ignore), at least the window's size.
            regions: uint8 H x W region numbers.
        """
        if not self.disjoint:
            self._flush(places[0][0])
            for band in (self.sums, self.base):
                band.reach(max(place[0] + place[2] for place in places))
        for place, mask, region in zip(places, masks, regions, strict=True):
            base = self._base_index(place, mask, region)
            if self.disjoint:
                self._window_base[place] = base
            else:
                self.base.at(place)[0] = base

    def add(self, subset: int, place: Place, logits: Tensor) -> None:
        """Logits outputs x H x W (at least the window's size) of one prepared window under one subset."""
        logits = logits[:, : place[2], : place[3]]
        self.seen.add(subset)
        if self.disjoint:
            self._count(subset, self._window_base[place], logits.argmax(0))
            return
        values = logits.float().softmax(0) if self.stitching == "probabilities" else logits
        self.sums.at(place)[subset] += values

    def done(self, places: Sequence[Place]) -> bool:
        """Say that all subsets of the prepared windows were added; True when the scene is complete."""
        self._window_base.clear()
        self.remaining -= len(places)
        if self.remaining == 0 and not self.disjoint:
            self._flush(self.height)
        return self.remaining == 0

    def result(self) -> Tensor:
        """int64 subsets x blocks x regions x labels x outputs on the CPU."""
        blocks = self.blocks[0] * self.blocks[1]
        return self.counts.cpu().reshape(
            self.subsets, blocks, self.regions, self.labels, self.outputs
        )

    def _base_index(self, place: Place, mask: Tensor, region: Tensor) -> Tensor:
        """Bin of output 0 for every pixel of the window; -1 where the label is ignored."""
        row, col, height, width = place
        mask, region = mask[:height, :width], region[:height, :width]
        rows = torch.arange(row, row + height, device=self.device) * self.blocks[0] // self.height
        cols = torch.arange(col, col + width, device=self.device) * self.blocks[1] // self.width
        block = rows[:, None] * self.blocks[1] + cols
        base = ((block * self.regions + region) * self.labels + mask) * self.outputs
        return base.masked_fill_(mask == IGNORE, -1)

    def count_labels(self, subset: int, place: Place, prediction: Tensor) -> None:
        """Count a finished prediction int64 height x width of one prepared window of a scene without overlaps."""
        self._count(subset, self._window_base[place], prediction)

    def _count(self, subset: int, base: Tensor, prediction: Tensor) -> None:
        # bin 0 collects the ignored pixels, so that no selection of pixels has to be copied
        index = (base + prediction + 1).masked_fill_(base < 0, 0)
        self.counts[subset] += torch.bincount(index.flatten(), minlength=self.bins + 1)[1:]

    def _flush(self, row: int) -> None:
        """Count all held rows above `row`, and let go of them."""
        final = min(row - self.base.top, self.base.rows)
        if final <= 0:
            return
        for subset in self.seen:
            self._count(
                subset, self.base.values[0, :final], self.sums.values[subset, :, :final].argmax(0)
            )
        self.sums.drop(row)
        self.base.drop(row)
