"""Pictures of damage beside a run, with a network whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmark.evaluation.scenario_files import read_scenarios
from benchmark.tracking.damage_images import FOLDER, store_damage
from benchmark.tracking.example_images import INDEX
from datamodules.base import SceneDataModule
from tests.support.known_network import KnownNetwork

NAMES = ["rgb", "dsm", "nir"]


class Bright(KnownNetwork):
    """Predicts class 1 where the first channel of `rgb` is above zero, else class 0."""

    def decode(self, encoded: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        assert set(encoded) == set(NAMES), "all sensors are at hand"
        bright = (encoded["rgb"][:, :1] > 0).float()
        return torch.cat([1 - bright, bright, torch.zeros_like(bright)], 1)


@pytest.fixture
def data(tiny_stores: Path) -> SceneDataModule:
    return SceneDataModule("tiny", str(tiny_stores), NAMES, window=32, batch_size=2)


def store(data: SceneDataModule, run_dir: Path, name: str) -> Path:
    [data.scenario] = read_scenarios([name], 0)
    model: Any = Bright()
    store_damage(model, data, run_dir, name, f"{name} 0")
    return run_dir / FOLDER


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_what_the_network_saw_and_what_it_made_of_it(data: SceneDataModule, tmp_path: Path) -> None:
    folder = store(data, tmp_path, "rmm")
    [entry] = json.loads((folder / INDEX).read_text())["scenes"]
    keys = [f"{end}.{name}" for name in NAMES for end in ("mildest", "strongest")]
    assert set(entry["modalities"]) == {*NAMES, *keys} and set(entry["subsets"]) == {"clean", *keys}
    sample = data.evaluation_windows("test")[0, 0]
    rows, columns = sample["window"][2:]
    assert entry["pixels"] == [columns, rows] and entry["step"] == 1
    outputs = np.asarray(data.outputs)
    expected = outputs[(sample["image"]["rgb"][0] > 0).long()][:rows, :columns]
    clean = pixels(folder / "rmm/clean.png")
    np.testing.assert_array_equal(clean, expected)
    for place, end in ((0, "mildest"), (-1, "strongest")):
        seen = outputs[(sample["damaged"]["rgb"][place][0] > 0).long()][:rows, :columns]
        assert (seen != clean).any()
        np.testing.assert_array_equal(pixels(folder / f"rmm/{end}.rgb.png"), seen)
        # that sensor alone is damaged, and this network looks at rgb only
        np.testing.assert_array_equal(pixels(folder / f"rmm/{end}.dsm.png"), clean)
    np.testing.assert_array_equal(pixels(folder / "rmm/label.png"), sample["mask"][:rows, :columns])
    for name in NAMES:
        as_it_is = pixels(folder / f"rmm/{name}.jpg").astype(int)
        mild, strong = (
            np.abs(pixels(folder / f"rmm/{end}.{name}.jpg").astype(int) - as_it_is).mean()
            for end in ("mildest", "strongest")
        )
        assert strong > mild > 0, "a range that is the clean picture's shows how much is lost"


def test_pictures_of_other_scenarios_stay(data: SceneDataModule, tmp_path: Path) -> None:
    store(data, tmp_path, "rmm")
    folder = store(data, tmp_path, "holes")
    (folder / "rmm" / "old.png").touch()
    store(data, tmp_path, "rmm")
    assert not (folder / "rmm" / "old.png").exists()
    index = json.loads((folder / INDEX).read_text())
    assert sorted(entry["id"] for entry in index["scenes"]) == ["holes 0", "rmm 0"]
    # of other data nothing is kept
    (folder / INDEX).write_text(json.dumps({**index, "fingerprint": "0"}))
    store(data, tmp_path, "holes")
    [entry] = json.loads((folder / INDEX).read_text())["scenes"]
    assert entry["id"] == "holes 0"


def test_without_a_scene_that_has_all_sensors_there_are_none(
    data: SceneDataModule, tmp_path: Path
) -> None:
    scenes = []
    for scene in data.splits["test"]:
        paths = {name: path for name, path in scene.paths.items() if name != data.rasters["dsm"]}
        scenes.append(replace(scene, paths=paths))
    data.splits["test"][:] = scenes
    assert not store(data, tmp_path, "rmm").exists()
