"""Reads windows of rasters with handles that are opened when first needed, and kept."""

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.rasters.raster_file import open_dataset, read_stored
from usererror import UserError

MOST_OPEN = 128
MEND = "Run the data command with --verify."


class Window(NamedTuple):
    """A rectangle in pixels; may reach beyond a scene that is smaller than it (the reader pads)."""

    row: int
    col: int
    height: int
    width: int


class RasterReader:
    """Keeps up to `MOST_OPEN` rasterio handles, least recently used closed first.

    Example:
        >>> import rasterio, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "a.png")
        >>> with rasterio.open(path, "w", "PNG", 3, 2, 1, dtype="uint8") as file:
        ...     file.write(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
        >>> RasterReader().read(path, Window(1, 1, height=2, width=2)).tolist()
        [[[5, 6], [5, 6]]]
    """

    def __init__(self) -> None:
        # what is let go of closes itself
        self._open = lru_cache(MOST_OPEN)(_open_stored)

    def __reduce__(self) -> tuple[type["RasterReader"], tuple[()]]:
        # handles do not survive pickling: a worker process starts with none (dossier, rule 1.7)
        return RasterReader, ()

    def read(self, path: Path, window: Window, channels: int | None = None) -> np.ndarray:
        """Read the first `channels` bands (None: all) as stored, `(C, height, width)`.

        Whole numbers with voids come as float32, NaN where they are void. The part of
        the window beyond the raster repeats the raster's edge.
        """
        from rasterio.errors import RasterioIOError

        handle = self._open(path)
        bands = None if channels is None else list(range(1, channels + 1))
        row_end = min(window.row + window.height, handle.height)
        col_end = min(window.col + window.width, handle.width)
        try:
            pixels = read_stored(handle, bands, ((window.row, row_end), (window.col, col_end)))
        except RasterioIOError as error:
            raise UserError(f"Cannot read {path}: {error}. {MEND}") from error
        return pad_edge(pixels, window.height, window.width)


def _open_stored(path: Path) -> Any:
    try:
        return open_dataset(path, str(path))
    except (OSError, UserError) as error:
        raise UserError(f"Cannot open {path}: {error}. {MEND}") from error


def pad_edge(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Grow `(C, h, w)` to `(C, height, width)` at bottom and right by repeating the edge."""
    below, right = height - pixels.shape[1], width - pixels.shape[2]
    # np.pad copies even where there is nothing to add
    return np.pad(pixels, ((0, 0), (0, below), (0, right)), "edge") if below or right else pixels
