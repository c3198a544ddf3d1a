"""`imss predict`: a class map of rasters of any size from whatever modalities are given."""

from __future__ import annotations

import argparse
import resource
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.loading.windows import Window
from datamodules.store.scene_store import IGNORE
from usererror import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.experiment.restore import Trained
    from benchmark.maps.geotiff import MapFiles
    from datamodules.loading.inference_rasters import GivenRaster, Grid

PANEL = 8192  # columns that are blended at once
CACHE_BYTES = 256 * 2**20  # GDAL alone would keep pixels in a twentieth of the machine's memory


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
        print(f"{trained.variant} trained on {trained.data}, {subset} of {'+'.join(inputs.letters.values())}")
        number = sum(len(places) for _, places in strips(grid.height, grid.width, window, stride))
        size = f"{grid.height} x {grid.width} px, {number} windows of {window} px every {stride}"
        print(f"{size}, {trained.model.device}; a larger --stride is faster")
        counts = np.zeros(256, np.int64)
        for row, col, means in predicted(trained, rasters, grid, window, stride):
            ids = class_ids(means, inputs.outputs)
            counts += np.bincount(ids.ravel(), minlength=256)
            maps.write(row, col, ids)
            if second:
                maps.write_probabilities(row, col, means if inputs.stitching == "probabilities" else means.softmax(0))
        if arguments.check_seams:
            for shift in shifts(stride):
                moved = predicted(trained, rasters, grid, window, stride, shift)
                share = 100 * changed(moved, inputs.outputs, maps) / (grid.height * grid.width)
                print(f"windows moved by {shift[0]} rows, {shift[1]} columns: {share:.3f} % of the labels change")
    print(shares(counts, {entry.id: entry.name for entry in inputs.classes}))
    print(f"Map: {out}" + (f"\nProbabilities: {second}" if second else ""))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f} GB")


def default_stride(window: int) -> int:
    """A tenth of the window and a pixel: 13 of 128 px, 52 of 512; 97 windows over each pixel.

    With it, and all modalities, moving all windows changed fewer than 0.5 % of the labels for every network tried; with
    sensors missing it changed up to 1 % (docs/predict.md).
    """
    return min(window // 10 + 1, window)


def shifts(stride: int) -> list[tuple[int, int]]:
    """By how much `--check-seams` moves the windows, (rows, columns): parts of the stride, half a patch of 32 px."""
    return [(stride // 2, stride // 2), (stride // 3, 2 * stride // 3), (16, stride // 4)]


def changed(pieces: Iterable[tuple[int, int, Tensor]], outputs: Sequence[int], maps: MapFiles) -> int:
    """How many pixels of the written map have another label in `pieces`, see `predicted`."""
    return sum(
        int((class_ids(means, outputs) != maps.read(row, col, *means.shape[1:])).sum()) for row, col, means in pieces
    )


def predicted(
    trained: Trained,
    rasters: Mapping[str, GivenRaster],
    grid: Grid,
    window: int,
    stride: int,
    shift: tuple[int, int] = (0, 0),
    panel: int = PANEL,
) -> Iterator[tuple[int, int, Tensor]]:
    """The blended output of the network in pieces: (row, col, float64 K x h x w).

    Overlapping windows (see `lattice`; `shift` moves them all) are blended as logits or as probabilities, as the run's
    protocol stitches them. A modality that says nothing in a whole window is absent from it; pixels that no input says
    anything of are NaN. Memory does not depend on the size of the scene: it is done in panels of at most `panel`
    columns, and windows across the border of two are computed for both, so that the map does not depend on panels.
    """
    from rich.progress import track

    from benchmark.maps.blending import Blend
    from benchmark.maps.window_grid import strips

    lattice = partial(strips, grid.height, grid.width, window, stride, shift)
    lefts = range(0, grid.width, panel)
    steps = ((left, number, strip) for left in lefts for number, strip in enumerate(lattice()))
    total = len(lefts) * sum(1 for _ in lattice())
    for left, number, (final, places) in track(steps, description="predicting", total=total):
        width = min(panel, grid.width - left)
        if number == 0:
            blend, top = Blend(len(trained.inputs.outputs), width, window), 0
        for row, col in places:
            if left - window < col < left + width:
                values, valid = window_output(trained, rasters, Window(row, col, window, window))
                if values is not None:
                    blend.add((row, col - left, window, window), values, valid)
        if final > top:
            yield top, left, blend.take(final)
            top = final


def window_output(trained: Trained, rasters: Mapping[str, GivenRaster], window: Window) -> tuple[Tensor | None, Tensor]:
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
        logits = trained.model.decode(trained.model.encode(images), (window.height, window.width))[0].float()
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
    text = ", ".join(f"{name} {100 * count / total:.1f} %" for count, name in sorted(found, reverse=True))
    return text + (f"; {counts[IGNORE]} px without input" if counts[IGNORE] else "")
