"""A figure of pictures side by side, without pyplot: no window system, and nothing to close."""

from pathlib import Path
from typing import Any

from matplotlib import rcParams
from matplotlib.figure import Figure

from datamodules.store.part_files import whole_file

# a dollar in the name of a class is no formula
rcParams["text.parse_math"] = False

# pictures are in [0, 1], and stay as they are
AS_IT_IS: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest"}


def picture_grid(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    """Open a figure of `size` inches, and its axes in an array `(rows, columns)`."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def save_figure(figure: Figure, title: str, path: Path) -> None:
    """Write a PNG under a title."""
    figure.suptitle(title, fontsize=10)
    write_figure(figure, path, dpi=110)


def write_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Write a picture, whole or not at all."""
    with whole_file(path) as part:
        figure.savefig(part, format=path.suffix[1:] or "png", **options)
