"""Stitching against a brute-force version that holds whole scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.evaluation.confusion_counter import SceneCounter, block_grid
from datamodules.loading.windows import covering_windows

SUBSETS, REGIONS, LABELS, OUTPUTS, BLOCK = 3, 2, 4, 3, 20


def scene(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    mask = torch.randint(0, LABELS + 1, (height, width), generator=generator)
    mask[mask == LABELS] = 255
    return mask, torch.randint(0, REGIONS, (height, width), generator=generator).to(torch.uint8)


def padded(values: torch.Tensor, row: int, col: int, side: int, fill: int) -> torch.Tensor:
    out = torch.full((side, side), fill, dtype=values.dtype)
    part = values[row : row + side, col : col + side]
    out[: part.shape[0], : part.shape[1]] = part
    return out


@pytest.mark.parametrize("stitching", ["logits", "probabilities"])
@pytest.mark.parametrize("together", [1, 4, 50])
@pytest.mark.parametrize(
    ("height", "width", "side", "stride"),
    [
        (64, 64, 32, 32),
        (70, 45, 32, 16),
        (33, 90, 32, 24),
        (20, 25, 32, 16),
        (32, 32, 32, 8),
        (100, 31, 16, 5),
    ],
)
def test_counts_equal_those_of_whole_scene_sums(
    height: int, width: int, side: int, stride: int, together: int, stitching: str
) -> None:
    windows = covering_windows(height, width, side, stride)
    places = [(w.row, w.col, min(side, height - w.row), min(side, width - w.col)) for w in windows]
    mask, region = scene(height, width)
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(len(places), SUBSETS, OUTPUTS, side, side, generator=generator)
    counter = SceneCounter(
        height,
        width,
        places,
        SUBSETS,
        REGIONS,
        LABELS,
        OUTPUTS,
        BLOCK,
        stitching,  # type: ignore[arg-type]
    )
    finished = False
    for start in range(0, len(places), together):
        batch = range(start, min(start + together, len(places)))
        chosen = [places[n] for n in batch]
        counter.prepare(
            chosen,
            [padded(mask, p[0], p[1], side, 255) for p in chosen],
            [padded(region, p[0], p[1], side, 0) for p in chosen],
        )
        for subset in range(SUBSETS):
            for n in batch:
                counter.add(subset, places[n], logits[n, subset])
        finished = counter.done(chosen)
    assert finished

    sums = torch.zeros(SUBSETS, OUTPUTS, height, width)
    for n, (row, col, rows, cols) in enumerate(places):
        values = logits[n].softmax(1) if stitching == "probabilities" else logits[n]
        sums[:, :, row : row + rows, col : col + cols] += values[:, :, :rows, :cols]
    prediction = sums.argmax(1).numpy()
    grid = block_grid(height, width, BLOCK)
    expected = np.zeros((SUBSETS, grid[0] * grid[1], REGIONS, LABELS, OUTPUTS), np.int64)
    for row in range(height):
        for col in range(width):
            if mask[row, col] == 255:
                continue
            block = (row * grid[0] // height) * grid[1] + col * grid[1] // width
            for subset in range(SUBSETS):
                expected[
                    subset, block, region[row, col], mask[row, col], prediction[subset, row, col]
                ] += 1
    assert np.array_equal(counter.result().numpy(), expected)


def test_a_subset_that_was_never_added_counts_nothing() -> None:
    mask, region = scene(40, 40)
    windows = covering_windows(40, 40, 32, 16)
    places = [tuple(window) for window in windows]
    counter = SceneCounter(40, 40, places, SUBSETS, REGIONS, LABELS, OUTPUTS)  # type: ignore[arg-type]
    for place in places:
        counter.prepare(
            [place], [padded(mask, *place[:2], 32, 255)], [padded(region, *place[:2], 32, 0)]
        )  # type: ignore
        counter.add(1, place, torch.randn(OUTPUTS, 32, 32))  # type: ignore[arg-type]
        counter.done([place])  # type: ignore[list-item]
    totals = counter.result().sum((1, 2, 3, 4)).tolist()
    assert totals == [0, int((mask != 255).sum()), 0]


def test_held_rows_do_not_grow_with_the_height() -> None:
    held = {}
    for height in (200, 800):
        places = [tuple(window) for window in covering_windows(height, 64, 32, 16)]
        counter = SceneCounter(height, 64, places, 1, 1, LABELS, OUTPUTS)  # type: ignore[arg-type]
        most = 0
        for place in places:
            counter.prepare([place], [torch.zeros(32, 32).long()], [torch.zeros(32, 32).long()])  # type: ignore[list-item]
            counter.add(0, place, torch.zeros(OUTPUTS, 32, 32))  # type: ignore[arg-type]
            most = max(most, counter.sums.rows)
            counter.done([place])  # type: ignore[list-item]
        held[height] = most
    assert held[200] == held[800] == 32
