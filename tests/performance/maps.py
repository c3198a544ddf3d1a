"""`make speed`, the part about maps: `imss predict` against the network alone on its windows."""

from __future__ import annotations

import contextlib
import io
import tempfile
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from benchmark.__main__ import main
from benchmark.experiment.model_inputs import Inputs
from benchmark.experiment.models import build_model
from benchmark.experiment.request import Request
from benchmark.experiment.restore import TrainedRun
from benchmark.maps.batches import default_batch
from benchmark.maps.window_grid import plain_rows
from benchmark.profiling.cost import resolve_device, time_interleaved
from datamodules.loading.inference_rasters import ModalitySpec
from datamodules.store.scene_store import Modality, SceneClass
from tests.support.placed import write

WINDOW, CLASSES = 512, 6
SENSORS = {
    "rgb": ModalitySpec(
        Modality("rgb", "R", 3, "uint8", "counts", "optical"), [90.0] * 3, [50.0] * 3, False
    ),
    "nir": ModalitySpec(
        Modality("nir", "N", 1, "uint8", "counts", "optical"), [100.0], [60.0], False
    ),
    "dsm": ModalitySpec(
        Modality("dsm", "D", 1, "float32", "metres", "height_absolute"), [5.0], [6.0], True
    ),
}


def command(rounds: int, side: int = 1024) -> None:
    """The command with three rasters of `side` x `side` px; a larger side is measured by hand."""
    trained = untrained_run()
    device, channels = trained.model.device, trained.inputs.channels
    number = sum(len(row) for _, row in plain_rows(side, side, WINDOW, WINDOW // 2))
    size = default_batch(WINDOW, device.type)
    images = {}
    for name, bands in channels.items():
        images[name] = torch.randn(size, bands, WINDOW, WINDOW, device=device)

    def network() -> None:
        with torch.inference_mode():
            for _ in range(-(-number // size)):
                trained.model.decode(trained.model.encode(images), (WINDOW, WINDOW))
        if device.type == "cuda":
            torch.cuda.synchronize()

    with tempfile.TemporaryDirectory() as folder:
        words = ["predict", "--run", "none", "--out", f"{folder}/map.tif"]
        words += ["--input", *write_scene(Path(folder), side)]
        quiet = contextlib.redirect_stdout(io.StringIO())
        with quiet, patch("benchmark.experiment.restore.load_trained_run", lambda *given: trained):
            ways = {"command": partial(main, words), "network": network}
            seconds = time_interleaved(ways, rounds)
    ratio = seconds["command"] / seconds["network"]
    print(
        f"  SGMA, PVT-v2-b0, three rasters of {side} x {side} px, {number} windows of {WINDOW} px, "
        f"{size} at a time, {device}: {seconds['command']:.1f} s, {ratio:.2f} times the network on "
        f"these windows (limit 2.0)"
    )


def untrained_run() -> TrainedRun:
    """Build what `imss predict` loads, with random weights."""
    channels = {name: spec.modality.channels for name, spec in SENSORS.items()}
    model = build_model("sgma", channels, CLASSES, backbone="pvt_v2_b0", pretrained=False)
    model = model.eval().to(resolve_device(""), memory_format=torch.channels_last)
    classes = [SceneClass(number, f"class{number}", (0, 0, 0)) for number in range(CLASSES)]
    inputs = Inputs(SENSORS, classes, list(range(CLASSES)), WINDOW, WINDOW // 2, "logits")
    return TrainedRun(model, inputs, Request("sgma", "noise"))


def write_scene(folder: Path, side: int) -> list[str]:
    """Write rasters of noise, tiled and compressed; return the words of `--input`."""
    rng, words = np.random.default_rng(0), []
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    for name, spec in SENSORS.items():
        # of few values, so that they compress
        pixels = rng.integers(1, 17, (spec.modality.channels, side, side), np.uint8)
        path = write(folder / f"{name}.tif", pixels.astype(spec.modality.dtype), **tiles)
        words.append(f"{name}={path}")
    return words
