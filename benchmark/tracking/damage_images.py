"""Small pictures of what a network was given while a sensor was damaged, and what it made of it.

`<run>/damage_examples` has the form of `example_images`, with an entry for each scenario instead of
each scene. Its "modalities" are `<modality>` as it is, and `mildest.<modality>` and
`strongest.<modality>`, the severities at both ends; its "subsets" are the predictions from all
sensors: `clean`, and the same two names where that sensor alone was damaged.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.evaluation import inference
from benchmark.tracking.example_images import (
    INDEX,
    Array,
    class_palette,
    save_labels,
    save_picture,
    write_index,
)
from datamodules.store.rendering import render_range, stretched_range
from datamodules.store.scene_store import DAMAGE

if TYPE_CHECKING:
    from datamodules.base import SceneDataModule
    from methods.base import AnyModalitySegmenter

FOLDER = "damage_examples"
DRAWN = 160  # pixels a side at most: a run has many scenarios
ENDS = {"mildest": 0, "strongest": -1}


def store_damage(
    model: AnyModalitySegmenter, data: SceneDataModule, run_dir: Path, name: str, identity: str
) -> None:
    """Write pictures of the first window of the first test scene that has all sensors.

    Nothing where no scene has them. Pictures of other scenarios stay.

    Args:
        model: in whose run the pictures are left.
        data: under the scenario (`SceneDataModule.scenario`).
        run_dir: of the run.
        name: of the scenario.
        identity: what tells its definition and its draws from others.
    """
    batch = _first_whole_window(data)
    if batch is None:
        return
    folder = run_dir / FOLDER
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).mkdir(parents=True)
    _, _, rows, columns = batch["window"][0].tolist()
    step = max(1, -(-max(rows, columns) // DRAWN))
    thinned = np.s_[:rows:step, :columns:step]
    inputs, predicted = _see_and_predict(model, data, batch)
    for key, values in inputs.items():
        save_picture(folder / name / f"{key}.jpg", values[thinned])
    labels = {"label": batch["mask"][0].numpy().astype(np.uint8), **predicted}
    colours = class_palette(data.store.classes)
    for key, ids in labels.items():
        save_labels(folder / name / f"{key}.png", ids[thinned], colours)
    entry = {
        "id": identity,
        "pixels": [columns, rows],
        "step": step,
        "modalities": list(inputs),
        "subsets": list(predicted),
        "folder": name,
    }
    write_index(folder, data, [*_other_entries(folder, data.store.fingerprint, name), entry])


def _first_whole_window(data: SceneDataModule) -> dict[str, Any] | None:
    from datamodules.loading.datasets import collate_windows

    windows = data.evaluation_windows("test")
    for index in range(len(windows)):
        if len(windows.available_at(index)) == len(data.modalities):
            return collate_windows([windows[0, index]], list(data.modalities))
    return None


def _see_and_predict(
    model: AnyModalitySegmenter, data: SceneDataModule, batch: dict[str, Any]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return pictures in [0, 1] and predicted label ids, both by the names of this module."""
    import torch

    from benchmark.evaluation.divergence import check_logits

    model.eval()
    outputs = np.asarray(data.outputs, np.uint8)
    size = batch["mask"].shape[-2:]

    def predict(encoded: dict[str, Any]) -> Array:
        logits = model.decode(encoded, size)
        check_logits(logits)
        return outputs[logits[0].argmax(0).cpu().numpy()]

    images = inference.images_for(model, batch)
    inputs: dict[str, Array] = {}
    with torch.inference_mode():
        encoded = dict(model.encode(images))
        predicted = {"clean": predict(encoded)}
        for modality, versions in batch["damaged"].items():
            clean = batch["image"][modality][0].numpy()
            # on the range of the clean image, so that damage is seen
            low, high = stretched_range(clean)
            inputs[modality] = render_range(clean, low, high)
            for end, place in ENDS.items():
                version = versions[:, place]
                inputs[f"{end}.{modality}"] = render_range(version[0].numpy(), low, high)
                entry = model.encode({modality: version.to(images[modality])})
                predicted[f"{end}.{modality}"] = predict({**encoded, **entry})
    return inputs, predicted


def _other_entries(folder: Path, fingerprint: str, name: str) -> list[Any]:
    # there may be no index yet, or one of other data
    with suppress(*DAMAGE):
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["fingerprint"] == fingerprint:
            return [entry for entry in index["scenes"] if entry["folder"] != name]
    return []
