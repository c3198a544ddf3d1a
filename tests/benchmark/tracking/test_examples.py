"""Small pictures beside a run, against the rasters and a network whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from torch import Tensor

from benchmark.evaluation.inference import evenly_spaced
from benchmark.tracking.example_images import DRAWN, FOLDER, INDEX, class_palette, store_examples
from datamodules.base import SceneDataModule
from datamodules.store.scene_store import SceneClass
from tests.support.known_network import KnownNetwork

NAMES = ["rgb", "dsm", "nir"]
SUBSETS = ["R", "D", "N", "R+D", "R+N", "D+N", "R+D+N"]


class Counter(KnownNetwork):
    """Predicts, everywhere, how many modalities it was given, less one."""

    def decode(self, encoded: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        logits = torch.zeros(1, 3, *size)
        logits[:, len(encoded) - 1] = 1
        return logits


@pytest.fixture(scope="module")
def stored(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    data = SceneDataModule("tiny", str(tiny_stores), NAMES, window=32, batch_size=2)
    run_dir = tmp_path_factory.mktemp("run")
    (run_dir / FOLDER).mkdir()
    (run_dir / FOLDER / "old.png").touch()
    model: Any = Counter()
    store_examples(model, data, run_dir, evenly_spaced(data.splits["test"]))
    return run_dir / FOLDER, data


def test_the_index_names_what_is_there(stored: tuple[Path, Any]) -> None:
    folder, data = stored
    index = json.loads((folder / INDEX).read_text())
    assert [scene["id"] for scene in index["scenes"]] == [scene.id for scene in data.splits["test"]]
    assert index["letters"] == {"rgb": "R", "dsm": "D", "nir": "N"} and index["outputs"] == [
        0,
        1,
        2,
    ]
    assert index["fingerprint"] == data.store.fingerprint
    for scene in index["scenes"]:
        names = {path.name for path in (folder / scene["folder"]).iterdir()}
        assert names == {f"{name}.jpg" for name in NAMES} | {
            f"{name}.png" for name in ["label", *SUBSETS]
        }
        assert scene["subsets"] == SUBSETS and scene["modalities"] == NAMES
    assert not (folder / "old.png").exists()


def test_pixels_are_label_ids_and_colours_those_of_the_classes(stored: tuple[Path, Any]) -> None:
    folder, data = stored
    for number, scene in enumerate(data.splits["test"]):
        with rasterio.open(scene.paths["label"]) as file:
            label = file.read(1)
        thinned = -(-max(label.shape) // DRAWN)
        assert thinned == 1  # the tiny scenes are smaller than a picture
        image = Image.open(folder / str(number) / "label.png")
        assert np.array_equal(np.asarray(image), label)
        colours = {0: (0, 0, 0), 1: (255, 0, 0), 2: (0, 255, 0)}
        painted = np.asarray(image.convert("RGB"))
        for name, colour in colours.items():
            assert (painted[label == name] == colour).all()
        unlabelled = painted[label == 255]
        assert len(unlabelled) and all(
            (unlabelled != colour).any(1).all() for colour in colours.values()
        )
        for subset in SUBSETS:
            ids = np.asarray(Image.open(folder / str(number) / f"{subset}.png"))
            assert ids.shape == label.shape and (ids == subset.count("+")).all()
        assert Image.open(folder / str(number) / "rgb.jpg").size == label.shape[::-1]


def test_few_are_spread_evenly() -> None:
    scenes: Any = list(range(14))
    assert (
        evenly_spaced(scenes) == [0, 6, 13]
        and evenly_spaced(scenes[:2]) == [0, 1]
        and evenly_spaced(scenes[:1]) == [0]
    )
    assert evenly_spaced(scenes[:10], 4) == [0, 3, 6, 9]


def test_classes_of_one_colour_are_told_apart() -> None:
    classes = [SceneClass(number, str(number), (9, 9, 255)) for number in range(4)]
    colours = {tuple(colour) for colour in class_palette(classes)[[0, 1, 2, 3, 255]].tolist()}
    assert len(colours) == 5
