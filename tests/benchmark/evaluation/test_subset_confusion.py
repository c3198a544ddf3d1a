"""SubsetConfusion against a brute-force version with whole scenes, and against torchmetrics."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.classification import (
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassJaccardIndex,
)

from benchmark.evaluation import SubsetConfusion
from benchmark.evaluation.protocol import clip_to_scene
from benchmark.evaluation.subset_confusion import SceneWindows, Stitching, block_grid
from benchmark.metrics.confusion import Convention, score_matrices
from datamodules.loading.windows import covering_windows

NAMES, REGIONS, LABELS, OUTPUTS, BLOCK = ("R", "D", "R+D"), 2, 4, 3, 20


def scene_windows(height: int, width: int, side: int, stride: int) -> SceneWindows:
    windows = covering_windows(height, width, side, stride)
    return SceneWindows(height, width, [clip_to_scene(w, height, width) for w in windows])


def truth_of(height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    mask = torch.randint(0, LABELS + 1, (height, width), generator=generator)
    mask[mask == LABELS] = 255
    return mask, torch.randint(0, REGIONS, (height, width), generator=generator).to(torch.uint8)


def cut(values: Tensor, place: tuple[int, ...], side: int, fill: int) -> Tensor:
    out = torch.full((side, side), fill, dtype=values.dtype)
    part = values[place[0] : place[0] + side, place[1] : place[1] + side]
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
    scene = scene_windows(height, width, side, stride)
    mask, region = truth_of(height, width)
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(len(scene.windows), 3, OUTPUTS, side, side, generator=generator)
    sizes = {"labels": LABELS, "outputs": OUTPUTS, "regions": REGIONS, "block": BLOCK}
    other = scene_windows(40, 40, 32, 16)  # stays without windows, before and behind
    confusion = SubsetConfusion(NAMES, scenes=[other, scene, other], stitching=stitching, **sizes)

    def decode(batch: slice) -> Iterator[tuple[str, Tensor]]:
        for number, name in enumerate(NAMES):
            yield name, logits[batch, number]

    for start in range(0, len(scene.windows), together):
        batch = slice(start, start + together)
        places = scene.windows[batch]
        masks = torch.stack([cut(mask, place, side, 255) for place in places])
        regions = torch.stack([cut(region, place, side, 0) for place in places])
        confusion.update(decode(batch), masks, regions, [1] * len(places), places)

    sums = torch.zeros(3, OUTPUTS, height, width)
    for n, (row, col, rows, cols) in enumerate(scene.windows):
        values = logits[n].softmax(1) if stitching == "probabilities" else logits[n]
        sums[:, :, row : row + rows, col : col + cols] += values[:, :, :rows, :cols]
    prediction = sums.argmax(1).numpy()
    grid = block_grid(height, width, BLOCK)
    expected = np.zeros((3, grid[0] * grid[1], REGIONS, LABELS, OUTPUTS), np.int64)
    for row, col in np.argwhere(mask.numpy() != 255):
        block = (row * grid[0] // height) * grid[1] + col * grid[1] // width
        for subset in range(3):
            place = subset, block, region[row, col], mask[row, col], prediction[subset, row, col]
            expected[place] += 1
    before, counts, behind = confusion.compute()
    np.testing.assert_array_equal(counts, expected)
    assert not before.any() and not behind.any()
    confusion.reset()
    assert not confusion.counts.any()


@pytest.mark.parametrize("stitching", ["logits", "probabilities"])
@pytest.mark.parametrize("stride", [32, 8])
def test_half_precision_is_summed_and_counted_like_the_same_numbers_in_full(
    stride: int, stitching: Stitching
) -> None:
    scene = scene_windows(64, 64, 32, stride)
    mask, _ = truth_of(64, 64)
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(len(scene.windows), OUTPUTS, 32, 32, generator=generator).bfloat16()
    masks = torch.stack([cut(mask, place, 32, 255) for place in scene.windows])
    counts = []
    for values in (logits, logits.float()):
        confusion = SubsetConfusion(["R"], LABELS, OUTPUTS, [scene], stitching=stitching)
        confusion.update({"R": values}, masks, None, [0] * len(masks), scene.windows)
        counts += confusion.compute()
    assert torch.equal(*counts) and counts[0].dtype == torch.int64
    assert int(counts[0].sum()) == int((mask != 255).sum())


def test_torchmetrics_gives_the_same_matrix_iou_and_f1() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 5, (3, 40, 30), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.1] = 255
    logits = {name: torch.randn(3, 5, 40, 30, generator=generator) for name in NAMES}
    confusion = SubsetConfusion(NAMES, labels=5, outputs=5)
    for image in range(3):
        one = {name: values[image : image + 1] for name, values in logits.items()}
        confusion.update(one, target[image : image + 1])
    matrices = confusion.compute()[0].sum((1, 2))
    scores = score_matrices(matrices.numpy(), Convention(tuple(range(5)), tuple(range(5))))
    for name, matrix, score in zip(NAMES, matrices, scores, strict=True):
        options = {"num_classes": 5, "ignore_index": 255}
        oracle = MulticlassConfusionMatrix(**options)(logits[name], target)
        assert torch.equal(matrix, oracle)
        iou = MulticlassJaccardIndex(**options, average="macro")(logits[name], target)
        f1 = MulticlassF1Score(**options, average="macro")(logits[name], target)
        assert score.miou == pytest.approx(float(iou), abs=1e-6)
        assert score.mf1 == pytest.approx(float(f1), abs=1e-6)


@pytest.mark.parametrize("stride", [32, 16])
def test_labels_regions_and_outputs_that_were_not_announced_are_no_result(stride: int) -> None:
    scene, place = scene_windows(64, 64, 32, stride), (0, 0, 32, 32)
    logits, whole = torch.randn(1, OUTPUTS, 32, 32), torch.zeros(1, 32, 32).long()
    for label, region in ((LABELS, 0), (-1, 0), (0, REGIONS)):
        mask, parts = whole.clone(), whole.clone()
        mask[0, 3, 4], parts[0, 3, 4] = label, region
        confusion = SubsetConfusion(["R"], LABELS, OUTPUTS, [scene, scene], REGIONS)
        for window in scene.windows:
            given = (mask, parts) if window == place else (whole, whole)
            confusion.update({"R": logits}, *given, [0], [window])
        with pytest.raises(ValueError, match="beyond those that were announced"):
            confusion.compute()
    confusion = SubsetConfusion(["R"], LABELS, OUTPUTS + 1, [scene])
    with pytest.raises(ValueError, match="R has 3 outputs, not 4"):
        confusion.update({"R": logits}, whole, None, [0], [place])


def test_of_equal_logits_the_first_counts() -> None:
    """As `argmax` promises; networks in half precision have many of them."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 3, (2, 7, 40, 50), generator=generator)
    target = torch.randint(0, 7, (2, 40, 50), generator=generator)
    for dtype in (torch.float32, torch.bfloat16):
        for layout in (torch.contiguous_format, torch.channels_last):
            confusion = SubsetConfusion(["R"], 7, 7)
            confusion.update({"R": logits.to(dtype, memory_format=layout)}, target)
            expected = np.zeros((7, 7), np.int64)
            np.add.at(expected, (target.numpy(), logits.numpy().argmax(1)), 1)
            np.testing.assert_array_equal(confusion.compute()[0][0, 0, 0], expected)


@pytest.mark.parametrize("stride", [32, 16])
def test_a_subset_that_was_never_added_counts_nothing(stride: int) -> None:
    mask, region = truth_of(64, 64)
    scene = scene_windows(64, 64, 32, stride)
    confusion = SubsetConfusion(NAMES, LABELS, OUTPUTS, [scene])
    for place in scene.windows:
        logits = {"D": torch.randn(1, OUTPUTS, 32, 32)}
        confusion.update(logits, cut(mask, place, 32, 255)[None], None, [0], [place])
    totals = confusion.compute()[0].sum((1, 2, 3, 4)).tolist()
    assert totals == [0, int((mask != 255).sum()), 0]


def test_held_rows_do_not_grow_with_the_height() -> None:
    held = {}
    for height in (200, 800):
        scene = scene_windows(height, 64, 32, 16)
        confusion = SubsetConfusion(["R"], LABELS, OUTPUTS, [scene])
        most = 0
        for place in scene.windows:
            logits, mask = torch.zeros(1, OUTPUTS, 32, 32), torch.zeros(1, 32, 32).long()
            confusion.update({"R": logits}, mask, None, [0], [place])
            for opened in confusion._open.values():
                most = max(most, opened.sums.held_rows)
        held[height] = most
        assert not confusion._open
    assert held[200] == held[800] == 32
