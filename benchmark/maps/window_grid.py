"""Where windows lie over a scene of any size: a sheared lattice that reaches beyond the scene on all sides."""

from __future__ import annotations

from collections.abc import Iterator

SHEAR = (
    3 - 5**0.5
) / 2  # the golden section, whose multiples spread most evenly whatever their number


def strips(
    height: int, width: int, window: int, stride: int, shift: tuple[int, int] = (0, 0)
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Windows from the top down, strip by strip: (end of the rows that no later strip reaches, [(row, col), ...]).

    Window (i, j) starts at row `stride` i plus an offset that depends on j, and at column `stride`
    j plus one that depends on i. Networks see an image in patches of 4 to 32 px, so what they say
    of a pixel depends on where patches are cut. Windows of a square grid that lie side by side cut
    at the same rows; here each cuts at its own. Starts may be negative, so that pixels at the
    border of the scene have as many windows as others.

    Args:
        height, width: of the scene, pixels.
        window: side of a window.
        stride: mean distance of neighbours. Offsets are below it, and small enough to leave no
            pixel uncovered.
        shift: moves the whole lattice, (rows, columns).

    Raises:
        ValueError: unless 1 <= stride <= window.
    """
    if not 1 <= stride <= window:
        raise ValueError(f"stride {stride} must lie between 1 and the window {window}")
    room = min(stride, window - stride + 1)
    around = 2 + window // stride + max(map(abs, shift)) // stride

    def offset(index: int) -> int:
        return int(index * SHEAR % 1 * room)

    waiting: list[tuple[int, int]] = []
    for i in range(-around, height // stride + around):
        places = []
        for j in range(-around, width // stride + around):
            row, col = i * stride + offset(j) + shift[0], j * stride + offset(i) + shift[1]
            if -window < row < height and -window < col < width:
                places.append((row, col))
        if places and waiting:
            yield min(max(i * stride + shift[0], 0), height), waiting
        waiting = places or waiting
    yield height, waiting
