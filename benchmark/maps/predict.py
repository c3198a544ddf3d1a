"""`imss predict`: a class map of rasters of any size from whatever modalities are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from datamodules.store.reader import Window
from datamodules.store.scene_store import IGNORE

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.experiment.restore import TrainedRun
    from benchmark.maps.geotiff import MapFiles
    from datamodules.loading.inference_rasters import Grid, InferenceRaster

PANEL = 8192  # columns that are blended at once
CACHE_BYTES = 256 * 2**20  # GDAL alone would keep pixels in a twentieth of the machine's memory


def default_stride(window: int) -> int:
    """A tenth of the window and a pixel: 13 of 128 px, 52 of 512; 97 windows over each pixel.

    With it, and all modalities, moving all windows changed fewer than 0.5 % of the labels for every
    network tried; with sensors missing it changed up to 1 % (docs/predict.md).
    """
    return min(window // 10 + 1, window)


def shifts(stride: int) -> list[tuple[int, int]]:
    """By how much `--check-seams` moves the windows, (rows, columns): parts of the stride, half a patch of 32 px."""
    return [(stride // 2, stride // 2), (stride // 3, 2 * stride // 3), (16, stride // 4)]


def changed(
    pieces: Iterable[tuple[int, int, Tensor]], outputs: Sequence[int], maps: MapFiles
) -> int:
    """How many pixels of the written map have another label in `pieces`, see `predicted`."""
    return sum(
        int((class_ids(means, outputs) != maps.read(row, col, *means.shape[1:])).sum())
        for row, col, means in pieces
    )


def predicted(
    trained: TrainedRun,
    rasters: Mapping[str, InferenceRaster],
    grid: Grid,
    window: int,
    stride: int,
    shift: tuple[int, int] = (0, 0),
    panel: int = PANEL,
) -> Iterator[tuple[int, int, Tensor]]:
    """The blended output of the network in pieces: (row, col, float64 K x h x w).

    Overlapping windows (see `lattice`; `shift` moves them all) are blended as logits or as
    probabilities, as the run's protocol stitches them. A modality that says nothing in a whole
    window is absent from it; pixels that no input says anything of are NaN. Memory does not depend
    on the size of the scene: it is done in panels of at most `panel` columns, and windows across
    the border of two are computed for both, so that the map does not depend on panels.
    """
    import torch
    from rich.progress import track

    from benchmark.evaluation.row_buffer import WindowStitcher
    from benchmark.maps.blending import window_weights
    from benchmark.maps.window_grid import strips

    weights = window_weights(window).double()
    lattice = partial(strips, grid.height, grid.width, window, stride, shift)
    lefts = range(0, grid.width, panel)
    steps = ((left, number, strip) for left in lefts for number, strip in enumerate(lattice()))
    total = len(lefts) * sum(1 for _ in lattice())
    for left, number, (final, places) in track(steps, description="predicting", total=total):
        width = min(panel, grid.width - left)
        if number == 0:
            top = 0
            blend = WindowStitcher(
                (len(trained.inputs.outputs),), width, weights, dtype=torch.float64
            )
        for row, col in places:
            if left - window < col < left + width:
                values, valid = window_output(trained, rasters, Window(row, col, window, window))
                if values is not None:
                    blend.add((row, col - left, window, window), values, valid=valid)
        if final > top:
            yield top, left, blend.pop_rows(final)
            top = final


def window_output(
    trained: TrainedRun, rasters: Mapping[str, InferenceRaster], window: Window
) -> tuple[Tensor | None, Tensor]:
    """(float32 K x height x width to be blended, bool height x width: some input says something there).

    None where no input says anything in the whole window.
    """
    import torch

    valid = torch.zeros(window.height, window.width, dtype=torch.bool)
    images = {}
    for name, raster in rasters.items():
        pixels, says = raster.read(window)
        if says.any():
            images[name] = torch.from_numpy(pixels)[None].to(trained.model.device)
            valid |= torch.from_numpy(says)
    if not images:
        return None, valid
    with torch.inference_mode():
        logits = trained.model.decode(trained.model.encode(images), (window.height, window.width))[
            0
        ].float()
        values = logits.softmax(0) if trained.inputs.stitching == "probabilities" else logits
    return values.cpu(), valid


def class_ids(means: Tensor, outputs: Sequence[int]) -> np.ndarray:
    """uint8 h x w ids of the largest of K x h x w; 255 where they are NaN."""
    ids = np.asarray(outputs, np.uint8)[means.argmax(0).numpy()]
    ids[means[0].isnan().numpy()] = IGNORE
    return ids


def shares(counts: np.ndarray, names: Mapping[int, str]) -> str:
    """One line: the share of each class that occurs among the pixels that have one, largest first."""
    total = counts[:IGNORE].sum()
    if not total:
        return "No pixel has a class."
    found = [(counts[number], name) for number, name in names.items() if counts[number]]
    text = ", ".join(
        f"{name} {100 * count / total:.1f} %" for count, name in sorted(found, reverse=True)
    )
    return text + (f"; {counts[IGNORE]} px without input" if counts[IGNORE] else "")
