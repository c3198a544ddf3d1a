"""Count confusion matrices of every subset from window logits, each pixel of a scene once.

One scene of 1 x 4 pixels, two windows of three pixels that overlap in the middle, one subset, two
classes:

    label         0    1    1    ignored
    window 1    2,0  0,3  1,0                 logits of class 0 and 1
    window 2         0,1  0,2  5,0
    sum         2,0  0,4  1,2  5,0
    prediction    0    1    1    -            the ignored pixel is not counted

so the matrix (a row per label, a column per output) is [[1, 0], [0, 2]]. Counting each window for
itself would give five pixels, one of them wrong.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from benchmark.evaluation.row_buffer import Place, RowBuffer, WindowStitcher
from datamodules.store.scene_store import IGNORE

Stitching = Literal["logits", "probabilities"]
# subset, float64 probabilities `(B, K, H, W)`, and the output that is counted, `(B, H, W)`
Prediction = tuple[str, Tensor, Tensor]
# is shown finished pixels: one subset after another, their labels and regions `(B, H, W)`
Watcher = Callable[[Iterator[Prediction], Tensor, Tensor], None]


class SceneWindows(NamedTuple):
    """Size of a scene in pixels, and all of its windows, clipped to it, row by row from the top."""

    height: int
    width: int
    windows: list[Place]


def block_grid(height: int, width: int, block: int) -> tuple[int, int]:
    """Rows and columns of blocks of about `block` pixels a side.

    Example:
        >>> block_grid(2400, 600, block=1000)
        (2, 1)
    """
    return max(1, round(height / block)), max(1, round(width / block))


class _OpenScene:
    """What is held of a scene whose windows are not all there yet."""

    def __init__(
        self,
        scene: SceneWindows,
        subsets: int,
        outputs: int,
        ignored: int,
        watched: bool,
        device: Any,
    ) -> None:
        self.remaining = len(scene.windows)
        self.scored: set[int] = set()  # subsets whose modalities the scene has
        self.sums = WindowStitcher((subsets, outputs), scene.width, device=device)
        self.bins = RowBuffer((1,), scene.width, fill=ignored, dtype=torch.int64, device=device)
        # windows over each pixel; what is counted needs their sums alone
        self.cover = WindowStitcher((1,), scene.width, device=device) if watched else None


class SubsetConfusion(Metric):
    """Confusion matrices of a model under every subset of its modalities.

    A `torchmetrics.Metric` whose one state is an int64 matrix, a row per subset, which ranks sum.
    Where windows of a scene overlap, their logits (or probabilities) are summed before the argmax;
    only rows that a later window can touch are held, so memory grows with the width of a scene and
    not with its height, and nothing is held where no windows overlap. Ranks hold whole scenes. Call
    `update`, not `forward`, which would forget the rows held.

    `update` never waits for a GPU, so that the next batch is prepared while one is counted. What
    only pixels can tell is therefore said by `compute`, a ValueError: a label that is neither
    ignored nor one of `labels`, a region beyond `regions`.

    Args:
        subsets: names of the subsets, in the order of the counts.
        labels: number of label ids, rows of a matrix.
        outputs: number of output channels, columns of a matrix.
        scenes: all scenes; None: images of any size, each counted as it is, into one pool.
        regions: number of regions that are counted apart (interior and band of eroded labels).
        block: approximate side in pixels of the blocks that are counted apart (for intervals).
        stitching: what is summed where windows overlap.
        watch: is shown every pixel that is counted, once, with the probabilities of all subsets:
            softmax of the mean logits of the windows over it, or the mean of their probabilities.
            It may keep none of these tensors.

    Example:
        >>> import torch
        >>> confusion = SubsetConfusion(["R", "D", "R+D"], labels=2, outputs=2)
        >>> target = torch.tensor([[[0, 1, 1], [1, 0, 255]]])
        >>> red = torch.stack([1.0 - target, target % 255.0], dim=1)
        >>> confusion.update({"R": red, "D": -red, "R+D": 3 * red}, target)
        >>> [pooled] = confusion.compute()
        >>> pooled.sum((1, 2)).tolist()
        [[[2, 0], [0, 3]], [[0, 2], [3, 0]], [[2, 0], [0, 3]]]
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = True  # `forward` may not merge states: a window counts with its neighbours
    counts: Tensor

    def __init__(
        self,
        subsets: Sequence[str],
        labels: int,
        outputs: int,
        scenes: Sequence[SceneWindows] | None = None,
        regions: int = 1,
        block: int = 1000,
        stitching: Stitching = "logits",
        watch: Watcher | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.subsets = dict(zip(subsets, range(len(subsets)), strict=True))
        # one scene without size or windows is the pool of images that belong to none
        self.scenes, self.stitching = list(scenes or [SceneWindows(0, 0, [])]), stitching
        self.watch = watch
        self.grids = [block_grid(scene.height, scene.width, block) for scene in self.scenes]
        self.overlapping = list(map(_windows_overlap, self.scenes))
        axes = regions, labels, outputs
        self.shapes = [(rows * cols, *axes) for rows, cols in self.grids]
        # scenes side by side, since `sum` over ranks needs equal shapes and they differ in blocks
        self.offsets = [0, *accumulate(map(prod, self.shapes))]
        # behind them the pixels that are not scored, by output, and those with a strange label
        self.ignored, self.strange = self.offsets[-1], self.offsets[-1] + outputs
        zeros = torch.zeros(len(subsets), self.strange + outputs, dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")
        self._open: dict[int, _OpenScene] = {}

    def reset(self) -> None:
        """Forget all counts and all rows held."""
        super().reset()
        self._open.clear()

    def update(
        self,
        logits: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]],
        target: Tensor,
        region: Tensor | None = None,
        scene: Sequence[int] = (),
        window: Sequence[Place] = (),
    ) -> None:
        """Count a batch of windows under all subsets.

        Args:
            logits: {subset: `(B, K, H, W)`}, or such pairs one by one, so that a caller need not
                hold all of them; a subset that is left out is not scored.
            target: label ids `(B, H, W)`, 255 where a pixel is not scored.
            region: region numbers `(B, H, W)`.
            scene: number of each window's scene.
            window: (row, column, height, width) of each window, clipped to its scene; windows of a
                scene come row by row.
        """
        region = torch.zeros_like(target) if region is None else region
        numbers = list(scene) or [0] * len(target)
        places = list(window) or [(0, 0, target.shape[1], target.shape[2])] * len(target)
        bins = torch.full_like(target, self.ignored, dtype=torch.int64)
        windows = list(zip(numbers, places, strict=True))
        for first, labels, parts, where in zip(bins, target, region, windows, strict=True):
            self._fill_first_bins(first, labels, parts, *where)
        held = self._hold_rows(windows, bins)
        for first, number in zip(bins, numbers, strict=True):
            if number in held:
                # counted with the rows that it completes
                first.fill_(self.ignored)
        pairs = logits.items() if isinstance(logits, Mapping) else logits
        added = self._add_to_held(pairs, windows, held)
        if held.keys() >= set(numbers):
            # all of them are counted with the rows that they complete
            deque(added, maxlen=0)
        else:
            self._count_subsets(bins, added)
        for number, opened in held.items():
            # free a scene's rows as soon as its last window is in, not at the end of the split
            opened.remaining -= numbers.count(number)
            if not opened.remaining:
                self._count_rows(opened, self.scenes[number].height)
                del self._open[number]

    def compute(self) -> list[Tensor]:
        """Counts of every scene, int64 `(subsets, blocks, regions, labels, outputs)`."""
        if self.counts[:, self.strange :].any():
            raise ValueError("there are labels or regions beyond those that were announced")
        scenes = zip(pairwise(self.offsets), self.shapes, strict=True)
        return [self.counts[:, start:end].view(-1, *shape) for (start, end), shape in scenes]

    def _add_to_held(
        self,
        pairs: Iterable[tuple[str, Tensor]],
        windows: Sequence[tuple[int, Place]],
        held: Mapping[int, _OpenScene],
    ) -> Iterator[tuple[str, Tensor]]:
        """Add windows of held scenes to their sums, and pass the logits on."""
        for name, values in pairs:
            subset, outputs = self.subsets[name], self.shapes[0][-1]
            if values.shape[1] != outputs:
                raise ValueError(f"{name} has {values.shape[1]} outputs, not {outputs}")
            for (number, place), one in zip(windows, values, strict=True):
                if number in held:
                    if self.stitching == "probabilities":
                        one = one.float().softmax(0)
                    one = one[:, : place[2], : place[3]]
                    held[number].sums.add(place, one, subset)
                    held[number].scored.add(subset)
            yield name, values

    def _hold_rows(
        self, windows: Sequence[tuple[int, Place]], bins: Tensor
    ) -> dict[int, _OpenScene]:
        """Open scenes whose windows overlap, count their rows above the batch, note its bins."""
        held: dict[int, _OpenScene] = {}
        for (number, place), first in zip(windows, bins, strict=True):
            if not self.overlapping[number]:
                continue
            if number not in self._open:
                sizes = len(self.subsets), self.shapes[number][-1], self.ignored
                watched = self.watch is not None
                self._open[number] = _OpenScene(self.scenes[number], *sizes, watched, self.device)
            opened = self._open[number]
            if number not in held:
                self._count_rows(opened, place[0])
                held[number] = opened
            opened.bins.extend_to(place[0] + place[2])
            opened.bins.view(place)[0] = first[: place[2], : place[3]]
            if opened.cover:
                opened.cover.add(place, first.new_ones(1, *place[2:]))
        return held

    def _fill_first_bins(
        self, first: Tensor, target: Tensor, region: Tensor, number: int, place: Place
    ) -> None:
        """Write the bin of output 0 for every pixel of a window into `first`, `(H, W)`."""
        row, col, height, width = place
        target, region = target[:height, :width], region[:height, :width]
        _, regions, labels, outputs = self.shapes[number]
        block: Tensor | int = 0
        (grid_rows, grid_cols), scene = self.grids[number], self.scenes[number]
        if grid_rows * grid_cols > 1:
            rows = torch.arange(row, row + height, device=target.device) * grid_rows // scene.height
            cols = torch.arange(col, col + width, device=target.device) * grid_cols // scene.width
            block = rows[:, None] * grid_cols + cols
        bins = ((block * regions + region.long()) * labels + target) * outputs
        bins += self.offsets[number]
        strange = (target < 0) | (target >= labels) | (region >= regions)
        bins.masked_fill_(strange, self.strange).masked_fill_(target == IGNORE, self.ignored)
        first[:height, :width] = bins

    def _count_subsets(
        self,
        first: Tensor,
        decoded: Iterable[tuple[str, Tensor]],
        windows: Tensor | None = None,
    ) -> None:
        """Count logits `(B, K, H, W)` of finished pixels under one subset after another.

        `first` has the bins of output 0; where overlapping windows were summed, `windows` has their
        number, `(1, H, W)`.
        """
        counted = self._count_one_by_one(first, decoded)
        if self.watch:
            regions, labels, outputs = self.shapes[0][1:]
            row = first // outputs
            label = (row % labels).masked_fill_(first >= self.ignored, IGNORE)
            self.watch(self._with_probabilities(counted, windows), label, row // labels % regions)
        deque(counted, maxlen=0)

    def _count_one_by_one(
        self, first: Tensor, decoded: Iterable[tuple[str, Tensor]]
    ) -> Iterator[Prediction]:
        """Count the largest logits; before that, give them and where they are."""
        for name, logits in decoded:
            # the first of equal ones, as `argmax`, which is slower on a CPU
            best = logits.max(1).indices
            yield name, logits, best
            self._count(self.subsets[name], first, best)

    def _count(self, subset: int, first: Tensor, best: Tensor) -> None:
        """Count outputs `best`, which become bins; the bins of output 0 have the same axes."""
        bins = best.add_(first).flatten()
        # `bincount` waits for the device, which tells it the largest bin
        self.counts[subset].scatter_add_(0, bins, bins.new_ones(1).expand(len(bins)))

    def _with_probabilities(
        self, counted: Iterable[Prediction], windows: Tensor | None
    ) -> Iterator[Prediction]:
        """Turn logits of one window, or what was summed of several, into float64 probabilities."""
        for name, values, best in counted:
            if windows is None:
                yield name, values.double().softmax(1), best
            elif self.stitching == "logits":
                yield name, (values.double() / windows).softmax(1), best
            else:
                yield name, values.double() / windows, best

    def _count_rows(self, opened: _OpenScene, row: int) -> None:
        """Count the rows above `row`, and let go of them."""
        first = opened.bins.rows_above(row)
        if not first.shape[1]:
            return
        names, sums = list(self.subsets), opened.sums.rows_above(row)
        # sums of a subset that the scene lacks are zeros, whose argmax is no prediction
        scored = ((names[subset], sums[subset, None]) for subset in sorted(opened.scored))
        windows = opened.cover.rows_above(row) if opened.cover else None
        self._count_subsets(first, scored, windows)
        for buffer in filter(None, (opened.sums, opened.bins, opened.cover)):
            buffer.discard_above(row)


def _windows_overlap(scene: SceneWindows) -> bool:
    # windows cover a scene, so they are disjoint exactly if their areas add up to it
    return sum(place[2] * place[3] for place in scene.windows) != scene.height * scene.width
