"""A class map of rasters, from the files of the sensors at hand to a GeoTIFF."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import rasterio

from benchmark.evaluation.inference import require_seen
from benchmark.experiment.restore import TrainedRun
from benchmark.maps import predict
from benchmark.maps.batches import default_batch
from benchmark.maps.geotiff import open_maps
from benchmark.maps.overlap import finished_behind
from benchmark.maps.window_grid import plain_rows, sheared_rows
from benchmark.tracking.progress import ProgressLine, show_share
from datamodules.loading.inference_rasters import open_scene
from datamodules.store.names import printable
from usererror import UserError


@dataclass(frozen=True)
class MapOptions:
    """How a map is made; 0 stands for what suits the run and the device.

    Args:
        window: side in pixels; by default the run's evaluation window.
        stride: pixels from window to window; by default half a window.
        quality: `high` lays a dense sheared grid of windows, in about 25 times the time.
        batch: windows that the network sees together.
        probabilities: also write `<out>_probabilities.tif`, a band per class.
        honour_nodata: pixels that a file calls nodata are void.
    """

    window: int = 0
    stride: int = 0
    quality: str = "standard"
    batch: int = 0
    probabilities: bool = False
    honour_nodata: bool = True

    def checked(self, trained: TrainedRun) -> tuple[int, int, int]:
        """Return window, stride and batch for a run; raises UserError for values that cannot be."""
        window = self.window or trained.inputs.window
        stride = self.stride or predict.default_stride(window, self.quality)
        if not 1 <= stride <= window:
            raise UserError(f"stride {stride} must lie between 1 and the window of {window} px.")
        if self.batch < 0:
            raise UserError(f"batch is {self.batch}: give 1 or more, or leave it out.")
        return window, stride, self.batch or default_batch(window, trained.model.device.type)


def write_map(
    trained: TrainedRun,
    files: Mapping[str, tuple[Path, Sequence[int]]],
    out: Path,
    options: MapOptions = MapOptions(),
    quiet: bool = False,
) -> dict[str, float]:
    """Write the class map of a scene as a GeoTIFF, in memory that does not depend on its size.

    Args:
        trained: a run, see `load_trained_run`.
        files: file and bands (none: all) of the modalities at hand; the others are missing.
        out: the map; it appears when it is whole.
        options: windows, quality, probabilities.
        quiet: print nothing of what is done.

    Returns:
        The share of each class among the pixels of which some input says something, in [0, 1].

    Raises:
        UserError: files that do not fit each other or the run, or of which the network sees
            nothing; options that cannot be.
    """
    require_seen(trained.model, list(files))
    window, stride, batch = options.checked(trained)
    inputs, device = trained.inputs, trained.model.device
    tell: Callable[[str], None] = (lambda text: None) if quiet else print
    second = out.with_name(f"{out.stem}_probabilities.tif") if options.probabilities else None
    # opening a file for writing would empty it before it is read
    for target in (out, second or out):
        if any(target.exists() and target.samefile(path) for path, _ in files.values()):
            raise UserError(f"{target} is an input of this map: name another file for the map.")
    subset = "+".join(inputs.letters[name] for name in files)
    method, data = trained.request.variant, trained.request.dataset
    tags = {"METHOD": method, "TRAINED_ON": data, "MODALITIES": subset}
    with (
        rasterio.Env(GDAL_CACHEMAX=predict.CACHE_BYTES),
        open_scene(files, inputs.modalities, options.honour_nodata) as (rasters, grid),
        open_maps(out, grid, inputs.classes, inputs.outputs, second, tags) as maps,
    ):
        every = "+".join(inputs.letters.values())
        tell(printable(f"{method} trained on {data}, {subset} of {every}"))
        kind = plain_rows if options.quality == "standard" else sheared_rows
        rows = partial(kind, grid.height, grid.width, window, stride)
        number = sum(len(places) for _, places in rows())
        windows = f"{number} windows of {window} px every {stride}, {batch} at a time"
        tell(f"{grid.height} x {grid.width} px, {windows}, {device}")
        counts, done, line = np.zeros(256, np.int64), 0, None if quiet else ProgressLine()
        strips = predict.predict_strips(trained, rasters, grid, window, rows, batch)
        averaged, probabilities = inputs.stitching == "probabilities", None
        # closed at once where writing fails: it reads ahead from files that are closed next
        with closing(strips), finished_behind(maps.write_strip) as write_strip:
            for row, col, means in strips:
                # strips come as they are finished: no map is held in memory as a whole
                ids = predict.class_ids(means, inputs.outputs)
                if second:
                    shares = means if averaged else means.softmax(0)
                    probabilities = shares.float().cpu().numpy()
                write_strip(row, col, ids, probabilities)
                counts += np.bincount(ids.ravel(), minlength=256)
                done += ids.size
                if line:
                    show_share(line, done / (grid.height * grid.width))
                # otherwise held beside the next strip while that is computed
                del means
        if line:
            line.close()
    names = {entry.id: entry.name for entry in inputs.classes}
    tell(printable(predict.describe_shares(counts, names)))
    tell(f"Map: {out}" + (f"\nProbabilities: {second}" if second else ""))
    total = max(int(counts[: predict.IGNORE].sum()), 1)
    return {names[number]: float(counts[number] / total) for number in names if counts[number]}
