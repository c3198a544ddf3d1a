"""`imss predict`: a class map of rasters of any size from whatever modalities are given."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.store import IGNORE
from datamodules.windows import Window, covering_starts
from usererror import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.trained import Trained
    from datamodules.given import GivenRaster, Grid

PANEL = 8192  # columns that are blended at once
CACHE_BYTES = 256 * 2**20  # GDAL alone would keep pixels in a twentieth of the machine's memory


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Check the files, load the run, write the map."""
    import rasterio

    from benchmark.mapfile import open_maps
    from benchmark.trained import load
    from datamodules.given import open_scene, parse_inputs

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
        print(f"{grid.height} x {grid.width} px, windows of {window} px every {stride}, {trained.model.device}")
        counts = np.zeros(256, np.int64)
        for row, col, means in predicted(trained, rasters, grid, window, stride):
            ids = class_ids(means, inputs.outputs)
            counts += np.bincount(ids.ravel(), minlength=256)
            maps.write(row, col, ids)
            if second:
                maps.write_probabilities(row, col, means if inputs.stitching == "probabilities" else means.softmax(0))
    print(shares(counts, {entry.id: entry.name for entry in inputs.classes}))
    print(f"Map: {out}" + (f"\nProbabilities: {second}" if second else ""))


def default_stride(window: int) -> int:
    """A little less than a quarter of the window: 23 of 128 px, 55 of 256, 119 of 512.

    Networks see an image in patches of 4 to 32 px. These strides leave remainders that differ by 23 of 32, so that the
    windows over a pixel cut it into patches at different places, and patch edges average out.
    """
    return max(window // 4 - 9, window // 8, 1)


def predicted(
    trained: Trained, rasters: Mapping[str, GivenRaster], grid: Grid, window: int, stride: int, panel: int = PANEL
) -> Iterator[tuple[int, int, Tensor]]:
    """The blended output of the network in pieces: (row, col, float64 K x h x w).

    Overlapping windows are blended as logits or as probabilities, as the run's protocol stitches them. A modality that
    says nothing in a whole window is absent from it; pixels that no input says anything of are NaN. Memory does not
    depend on the size of the scene.
    """
    from rich.progress import track

    from benchmark.blending import Blend, panels

    tops = covering_starts(grid.height, window, stride)
    rows = list(zip(tops, [*tops[1:], grid.height], strict=True))
    parts = list(panels(grid.width, window, stride, panel))
    steps = track([(part, row) for part in parts for row in rows], description="predicting")
    for (left, right, starts), (top, final) in steps:
        if top == 0:
            blend = Blend(len(trained.inputs.outputs), right - left, window)
        for col in starts:
            values, valid = window_output(trained, rasters, Window(top, col, window, window))
            if values is not None:
                blend.add((top, col - left, window, window), values, valid)
        yield top, left, blend.take(final)


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
