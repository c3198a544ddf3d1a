"""Class maps of rasters of any size from whatever modalities are given."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.maps.batches import Batch, read_batches
from benchmark.maps.overlap import made_ahead
from datamodules.store.scene_store import IGNORE

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.experiment.restore import TrainedRun
    from benchmark.maps.window_grid import Rows
    from datamodules.loading.inference_rasters import InferenceRaster
    from datamodules.rasters.placement import Grid

PANEL = 8192  # columns that are blended at once
CACHE_BYTES = 128 * 2**20  # GDAL alone would keep pixels in a twentieth of the machine's memory


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
    size: int = 1,
) -> Generator[tuple[int, int, Tensor], None, None]:
    """Predict a scene piece by piece, in memory that does not depend on its size.

    Overlapping windows are blended as logits or as probabilities, as the run's protocol stitches
    them. `rows` makes the rows of windows anew for every `PANEL` of columns that are blended at
    once, see `window_grid`; the network sees `size` windows together.

    Yields:
        (row, col, float64 `(K, h, w)` on the network's device); pixels that no input says anything
        of are nan.
    """
    import torch

    from benchmark.evaluation.row_buffer import WindowStitcher
    from benchmark.maps.window_grid import window_weights

    device = trained.model.device
    weights = window_weights(window).to(device, torch.float64)
    options: dict[str, Any] = {"weights": weights, "dtype": torch.float64, "device": device}
    for left in range(0, grid.width, PANEL):
        columns, top = range(left, min(left + PANEL, grid.width)), 0
        stitcher = WindowStitcher((len(trained.inputs.outputs),), len(columns), **options)
        # windows across the border of two panels are computed for both, so that no border shows
        with made_ahead(read_batches(rasters, rows(), columns, window, size)) as batches:
            for batch in batches:
                if batch.corners:
                    values, valid = predict_batch(trained, batch), torch.from_numpy(batch.valid)
                    parts = zip(batch.corners, values, valid.to(device), strict=True)
                    for (row, col), value, says in parts:
                        stitcher.add((row, col - left, window, window), value, valid=says)
                # rows of the sheared grid may lie wholly above the scene
                if batch.final > top:
                    yield top, left, stitcher.pop_rows(batch.final)
                    top = batch.final


def predict_batch(trained: TrainedRun, batch: Batch) -> Tensor:
    """Run the network on windows, for float32 `(B, K, h, w)` to be blended."""
    import torch

    from benchmark.evaluation.divergence import check_logits

    images = {}
    for name, pixels in batch.images.items():
        images[name] = torch.from_numpy(pixels).to(trained.model.device)
    with torch.inference_mode():
        size = batch.valid.shape[1:]
        logits = trained.model.decode(trained.model.encode(images), size).float()
        check_logits(logits)
        return logits.softmax(1) if trained.inputs.stitching == "probabilities" else logits


def class_ids(means: Tensor, outputs: Sequence[int]) -> np.ndarray:
    """Take the class of the largest of `(K, h, w)`, uint8 `(h, w)`; 255 where they are nan."""
    # the first of equal ones as `argmax` would, in a sixth of its time on a CPU
    best, channels = means.max(0)
    ids = np.asarray(outputs, np.uint8)[channels.cpu().numpy()]
    ids[best.isnan().cpu().numpy()] = IGNORE
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
