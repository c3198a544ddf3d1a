"""`make speed ARGS=graphs`: which methods can be exported, and how far graphs are from torch."""

from __future__ import annotations

import tempfile
from pathlib import Path

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
    print("| method | one sensor | all sensors |\n|---|---|---|")
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
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def as_run(name: str, model: AnyModalitySegmenter) -> TrainedRun:
    """A network of random weights as if a run had trained it."""
    modalities = {}
    for letter, (sensor, channels) in zip("ABCD", model.modalities.items(), strict=False):
        modality = Modality(sensor, letter, channels, "float32", "counts", "other")
        modalities[sensor] = ModalitySpec(modality, [0.0] * channels, [1.0] * channels, False)
    classes = [SceneClass(number, str(number), (0, 0, 0)) for number in range(CLASSES)]
    inputs = Inputs(modalities, classes, list(range(CLASSES)), WINDOW, WINDOW // 2, "logits")
    return TrainedRun(model, inputs, Request(name, "random images"))
