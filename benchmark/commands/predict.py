"""The `imss predict` command."""

from __future__ import annotations

import argparse
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from usererror import UserError

if TYPE_CHECKING:
    pass
from benchmark.maps.predict import (
    CACHE_BYTES,
    changed,
    class_ids,
    default_stride,
    predicted,
    shares,
    shifts,
)


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Check the files, load the run, write the map."""
    import rasterio

    from benchmark.experiment.restore import load
    from benchmark.maps.geotiff import open_maps
    from benchmark.maps.window_grid import strips
    from datamodules.loading.inference_rasters import open_scene, parse_inputs

    trained = load(Path(arguments.run).expanduser(), arguments.store)
    inputs = trained.inputs
    files = parse_inputs(arguments.input, list(inputs.modalities))
    out = Path(arguments.out).expanduser()
    second = out.with_name(f"{out.stem}_probabilities.tif") if arguments.probabilities else None
    for target in (out, second or out):
        if any(target.exists() and target.samefile(path) for path, _ in files.values()):
            raise UserError(f"{target} is an input of this map: name another file with --out.")
    window = arguments.window or inputs.window
    stride = arguments.stride or default_stride(window)
    if not 1 <= stride <= window:
        raise UserError(f"stride {stride} must lie between 1 and the window of {window} px.")
    subset = "+".join(inputs.letters[name] for name in files)
    tags = {"METHOD": trained.variant, "TRAINED_ON": trained.data, "MODALITIES": subset}
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES),
        open_scene(files, inputs.modalities, not arguments.ignore_nodata) as (rasters, grid),
        open_maps(out, grid, inputs.classes, inputs.outputs, second, tags) as maps,
    ):
        print(
            f"{trained.variant} trained on {trained.data}, {subset} of {'+'.join(inputs.letters.values())}"
        )
        number = sum(len(places) for _, places in strips(grid.height, grid.width, window, stride))
        size = f"{grid.height} x {grid.width} px, {number} windows of {window} px every {stride}"
        print(f"{size}, {trained.model.device}; a larger --stride is faster")
        counts = np.zeros(256, np.int64)
        for row, col, means in predicted(trained, rasters, grid, window, stride):
            ids = class_ids(means, inputs.outputs)
            counts += np.bincount(ids.ravel(), minlength=256)
            maps.write(row, col, ids)
            if second:
                maps.write_probabilities(
                    row, col, means if inputs.stitching == "probabilities" else means.softmax(0)
                )
        if arguments.check_seams:
            for shift in shifts(stride):
                moved = predicted(trained, rasters, grid, window, stride, shift)
                share = 100 * changed(moved, inputs.outputs, maps) / (grid.height * grid.width)
                print(
                    f"windows moved by {shift[0]} rows, {shift[1]} columns: {share:.3f} % of the labels change"
                )
    print(shares(counts, {entry.id: entry.name for entry in inputs.classes}))
    print(f"Map: {out}" + (f"\nProbabilities: {second}" if second else ""))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f} GB")
