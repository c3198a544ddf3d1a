"""Reads windows of rasters with handles that are opened lazily in the process that uses them, and kept."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from usererror import UserError


class RasterReader:
    """Keeps up to `max_open` rasterio handles, least recently used closed first.

    Handles do not survive pickling or forking, so a worker process that receives a copy starts with none
    (datasets dossier, rule 1.7).
    """

    def __init__(self, max_open: int = 128) -> None:
        self.max_open = max_open
        self._handles: OrderedDict[Path, Any] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"max_open": self.max_open, "_handles": OrderedDict()}

    def _open(self, path: Path) -> Any:
        if path in self._handles:
            self._handles.move_to_end(path)
            return self._handles[path]
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            try:
                handle = rasterio.open(path)
            except RasterioIOError as error:
                raise UserError(
                    f"Cannot open {path}: {error}. Run the data command with --verify."
                ) from error
        self._handles[path] = handle
        if len(self._handles) > self.max_open:
            self._handles.popitem(last=False)[1].close()
        return handle

    def read(self, path: Path, window: Window, channels: int | None = None) -> np.ndarray:
        """The first `channels` bands (None: all), raw, C x height x width.

        The part of the window beyond the raster repeats the raster's edge.

        Raises:
            UserError: the file cannot be opened or its pixels cannot be read.
        """
        from rasterio.errors import RasterioIOError

        handle = self._open(path)
        bands = None if channels is None else list(range(1, channels + 1))
        row_end = min(window.row + window.height, handle.height)
        col_end = min(window.col + window.width, handle.width)
        try:
            pixels = handle.read(bands, window=((window.row, row_end), (window.col, col_end)))
        except RasterioIOError as error:
            raise UserError(
                f"Cannot read {path}: {error}. Run the data command with --verify."
            ) from error
        return pad_edge(pixels, window.height, window.width)


def pad_edge(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """C x h x w grown to C x height x width at the bottom and right by repeating the edge."""
    missing = (height - pixels.shape[1], width - pixels.shape[2])
    if missing == (0, 0):
        return pixels
    return np.pad(pixels, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")


class Window(NamedTuple):
    """A rectangle in pixels; may reach beyond a scene that is smaller than it (the reader pads)."""

    row: int
    col: int
    height: int
    width: int
