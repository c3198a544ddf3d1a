"""`make speed ARGS=graphs`: which methods can be exported, and how far graphs are from torch.

Beside it stands how far torch in float32 is from torch in float64: no graph can be expected nearer.
"""

from __future__ import annotations

import tempfile
from copy import deepcopy
from pathlib import Path

import torch

from benchmark.experiment.model_inputs import Inputs
from benchmark.experiment.request import Request
from benchmark.experiment.restore import TrainedRun
from benchmark.export.onnx_graph import export_onnx
from datamodules.loading.inference_rasters import ModalitySpec
from datamodules.store.scene_store import Modality, SceneClass
from methods.base import AnyModalitySegmenter
from tests.support.gaps_processes import contracts
from tests.support.method_checks import CHANNELS, CLASSES
from usererror import UserError

WINDOW = 64


def parity(rounds: int) -> None:
    """Print a line per method: the largest difference for its first sensor alone, and for all."""
    print(
        "| method | one sensor | all sensors | rounding of torch, all sensors |\n|---|---|---|---|"
    )
    for name, contract in contracts().items():
        count = max(number for number in contract.counts if number < 4)
        model = contract.make(dict(list(CHANNELS.items())[:count])).eval()
        trained = as_run(name, model)
        cells = []
        for subset in (list(model.modalities)[:1], list(model.modalities)):
            try:
                with tempfile.TemporaryDirectory() as folder:
                    one = export_onnx(trained, [subset], Path(folder) / "net.onnx")[0]
                cells.append(f"{one.difference:.0e}")
            except UserError as error:
                cells.append(str(error))
        print(f"| {name} | {' | '.join(cells)} | {rounding(model):.0e} |", flush=True)


def rounding(model: AnyModalitySegmenter) -> float:
    """Largest difference of the logits of float32 from those of float64, by the largest logit."""
    draw = torch.Generator().manual_seed(0)
    images = {}
    for name, channels in model.modalities.items():
        images[name] = torch.randn(1, channels, WINDOW, WINDOW, generator=draw)
    with torch.inference_mode():
        single = model(images)
        double = deepcopy(model).double()({name: x.double() for name, x in images.items()})
    return float((single - double).abs().max() / double.abs().max())


def as_run(name: str, model: AnyModalitySegmenter) -> TrainedRun:
    """A network of random weights as if a run had trained it."""
    modalities = {}
    for letter, (sensor, channels) in zip("ABCD", model.modalities.items(), strict=False):
        modality = Modality(sensor, letter, channels, "float32", "counts", "other")
        modalities[sensor] = ModalitySpec(modality, [0.0] * channels, [1.0] * channels, False)
    classes = [SceneClass(number, str(number), (0, 0, 0)) for number in range(CLASSES)]
    inputs = Inputs(modalities, classes, list(range(CLASSES)), WINDOW, WINDOW // 2, "logits")
    return TrainedRun(model, inputs, Request(name, "random images"))
