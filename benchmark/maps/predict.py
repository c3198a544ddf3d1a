"""Class maps of rasters of any size from whatever modalities are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from datamodules.store.reader import Window
from datamodules.store.scene_store import IGNORE

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.experiment.restore import TrainedRun
    from benchmark.maps.window_grid import Rows
    from datamodules.loading.inference_rasters import InferenceRaster
    from datamodules.rasters.placement import Grid

PANEL = 8192  # columns that are blended at once
CACHE_BYTES = 256 * 2**20  # GDAL alone would keep pixels in a twentieth of the machine's memory


def default_stride(window: int, quality: str) -> int:
    """Choose the distance of windows: half a window, or for `high` quality about a tenth.

    Example:
        >>> default_stride(512, "standard"), default_stride(512, "high")
        (256, 52)
    """
    # at a tenth, 97 windows lie over each pixel; moving them all changes fewer than 0.5 % of the
    # labels with all modalities, up to 1 % with some missing (docs/predict.md)
    return max(1, window // 2) if quality == "standard" else min(window // 10 + 1, window)


def predict_strips(
    trained: TrainedRun,
    rasters: Mapping[str, InferenceRaster],
    grid: Grid,
    window: int,
    rows: Callable[[], Rows],
) -> Iterator[tuple[int, int, Tensor]]:
    """Predict a scene piece by piece, in memory that does not depend on its size.

    Overlapping windows are blended as logits or as probabilities, as the run's protocol stitches
    them. `rows` makes the rows of windows anew for every `PANEL` of columns that are blended at
    once, see `window_grid`.

    Yields:
        (row, col, float64 `(K, h, w)`); pixels that no input says anything of are nan.
    """
    import torch
    from rich.progress import track

    from benchmark.evaluation.row_buffer import WindowStitcher
    from benchmark.maps.window_grid import window_weights

    weights = window_weights(window).double()
    outputs = len(trained.inputs.outputs)
    lefts = range(0, grid.width, PANEL)
    steps = ((left, number, row) for left in lefts for number, row in enumerate(rows()))
    total = len(lefts) * len(list(rows()))
    for left, number, (final, places) in track(steps, description="predicting", total=total):
        width = min(PANEL, grid.width - left)
        if number == 0:
            stitcher, top = WindowStitcher((outputs,), width, weights, dtype=torch.float64), 0
        for row, col in places:
            # windows across the border of two panels are computed for both, so that no border shows
            if left - window < col < left + width:
                values, valid = predict_window(trained, rasters, Window(row, col, window, window))
                if values is not None:
                    stitcher.add((row, col - left, window, window), values, valid=valid)
        # rows of the sheared grid may lie wholly above the scene
        if final > top:
            yield top, left, stitcher.pop_rows(final)
            top = final


def predict_window(
    trained: TrainedRun, rasters: Mapping[str, InferenceRaster], window: Window
) -> tuple[Tensor | None, Tensor]:
    """Run the network on one window, for float32 `(K, h, w)` to be blended.

    They are None where no input says anything; bool `(h, w)` says where some input does.
    """
    import torch

    from benchmark.evaluation.divergence import check_logits

    valid = torch.zeros(window.height, window.width, dtype=torch.bool)
    images = {}
    for name, raster in rasters.items():
        pixels, says = raster.read(window)
        # filled where it is void, however much of the window that is: a modality is there or absent
        # in a scene, as it is in training and evaluation
        images[name] = torch.from_numpy(pixels)[None].to(trained.model.device)
        valid |= torch.from_numpy(says)
    # the map says nodata there
    if not valid.any():
        return None, valid
    size = window.height, window.width
    with torch.inference_mode():
        logits = trained.model.decode(trained.model.encode(images), size)[0].float()
        check_logits(logits)
        values = logits.softmax(0) if trained.inputs.stitching == "probabilities" else logits
    return values.cpu(), valid


def class_ids(means: Tensor, outputs: Sequence[int]) -> np.ndarray:
    """Take the class of the largest of `(K, h, w)`, uint8 `(h, w)`; 255 where they are nan."""
    ids = np.asarray(outputs, np.uint8)[means.argmax(0).numpy()]
    ids[means[0].isnan().numpy()] = IGNORE
    return ids


def describe_shares(counts: np.ndarray, names: Mapping[int, str]) -> str:
    """Say which share of the pixels each class has, largest first, from 256 counts by class id.

    Example:
        >>> describe_shares(np.bincount([0, 2, 2, 2, 255], minlength=256), {0: "road", 2: "tree"})
        'tree 75.0 %, road 25.0 %; 1 px without input'
    """
    total = counts[:IGNORE].sum()
    if not total:
        return "No pixel has a class."
    found = sorted(((counts[number], name) for number, name in names.items()), reverse=True)
    text = ", ".join(f"{name} {100 * count / total:.1f} %" for count, name in found if count)
    return text + (f"; {counts[IGNORE]} px without input" if counts[IGNORE] else "")
