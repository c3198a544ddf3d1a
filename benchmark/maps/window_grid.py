"""Where the windows of a map lie, and what their pixels weigh.

A plain grid is as in the evaluation, a dense sheared one gives smoother maps.

Both give rows of windows from the top down, and with each row the end of the pixels that no later
row reaches. Three windows of 4 px every 2 px cover a scene of 8 x 4 px:

    >>> list(plain_rows(height=8, width=4, window=4, stride=2))
    [(2, [(0, 0)]), (4, [(2, 0)]), (8, [(4, 0)])]

The sheared grid moves each column of windows by its own offset, and begins beyond the scene:

    >>> [places for _, places in sheared_rows(height=8, width=4, window=4, stride=2)][1]
    [(-2, -3), (-1, -1), (-2, 1), (-2, 3)]
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from datamodules.loading.windows import covering_starts

Rows = Iterator[tuple[int, list[tuple[int, int]]]]

# the golden section, whose multiples spread most evenly whatever their number
GOLDEN_SHEAR = (3 - 5**0.5) / 2


def plain_rows(height: int, width: int, window: int, stride: int) -> Rows:
    """Cover a scene with the windows that the evaluation uses."""
    starts = covering_starts(height, window, stride)
    columns = covering_starts(width, window, stride)
    for row, final in zip(starts, [*starts[1:], height], strict=True):
        yield final, [(row, col) for col in columns]


def sheared_rows(height: int, width: int, window: int, stride: int) -> Rows:
    """Cover a scene with windows that are cut at many places.

    Window (i, j) starts at row `stride` i plus an offset that depends on j, and at column `stride`
    j plus one that depends on i. Starts may be negative.
    """
    if not 1 <= stride <= window:
        raise ValueError(f"stride {stride} must lie between 1 and the window {window}")
    # Networks see an image in patches of 4 to 32 px, so what they say of a pixel depends on where
    # patches are cut; windows of a plain grid that lie side by side cut at the same rows.
    room = min(stride, window - stride + 1)  # larger offsets would leave pixels uncovered
    around = 2 + window // stride  # so that pixels at the border have as many windows as others

    def offset(index: int) -> int:
        return int(index * GOLDEN_SHEAR % 1 * room)

    waiting: list[tuple[int, int]] = []
    for i in range(-around, height // stride + around):
        places = []
        for j in range(-around, width // stride + around):
            row, col = i * stride + offset(j), j * stride + offset(i)
            if -window < row < height and -window < col < width:
                places.append((row, col))
        if places and waiting:
            yield min(max(i * stride, 0), height), waiting
        waiting = places or waiting
    yield height, waiting


def window_weights(window: int) -> Tensor:
    """Weigh the pixels of a window, int64 `(window, window)`.

    Level inside, falling to 1 over the outer eighth.

    Example:
        >>> window_weights(16)[8].tolist()
        [2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2]
    """
    # nearly level, as a mean of many windows is the steadier the more alike they weigh; not quite,
    # as networks are least sure at the borders of what they see (docs/predict.md)
    near = torch.arange(1, window + 1)
    side = torch.minimum(near, near.flip(0)).clamp(max=max(window // 8, 1))
    return side[:, None] * side
