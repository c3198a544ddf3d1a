"""Damaged sensors: cases against whole rasters, whatever reads the windows."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from benchmark.evaluation.damaged import DamageEvaluation, damaged_modalities
from benchmark.evaluation.scenario_files import read_scenarios
from datamodules.base import SceneDataModule
from datamodules.damage.fields import uniform
from datamodules.store.reader import Window
from tests.benchmark.evaluation.test_evaluation import ROOT, SCRIPT, read_result, read_whole
from usererror import UserError

SCRIPTED = runpy.run_path(str(SCRIPT))
evaluate_script = SCRIPTED["evaluate"]


@pytest.fixture(scope="module")
def scenes(tiny_stores: Path) -> dict[str, tuple[dict[str, np.ndarray], np.ndarray]]:
    """Normalised rasters and label of every test scene, read whole."""
    data = SceneDataModule("tiny", str(tiny_stores), window=32, num_workers=0)
    return {scene.id: read_whole(data, scene) for scene in data.splits["test"]}


def pixelwise_counts(images: dict[str, np.ndarray], truth: np.ndarray) -> np.ndarray:
    """What the script's network predicts, which looks at single pixels."""
    total = sum(images[name].mean(0) for name in sorted(images))
    guess = np.stack([-total + 0.1, total, 0.2 * total + 0.3]).argmax(0)
    valid = truth != 255
    return confusion_matrix(truth[valid], guess[valid], labels=range(3))


def assert_counts(counts: np.ndarray, expected: np.ndarray) -> None:
    # float rounding at a tie of two logits may move a pixel
    assert counts.sum() == expected.sum()
    assert np.abs(counts.sum((0, 1)) - expected).max() <= 1


def test_random_values_are_lost_as_on_the_whole_raster(
    tiny_stores: Path, tmp_path: Path, scenes: dict
) -> None:
    evaluate_script(str(tiny_stores), 1, True, str(tmp_path / "rmm"), "rmm")
    counts, report = read_result(tmp_path / "rmm")
    sets = ["R", "D", "N", "R+D", "R+N", "D+N", "R+D+N"]
    names = [f"{share}:{letters}" for share in ("0.25", "0.5", "0.75") for letters in sets]
    assert report["subsets"] == ["clean", *names]
    [scenario] = read_scenarios(["rmm"])
    letters = {"rgb": "R", "dsm": "D", "nir": "N"}
    for scene, (images, truth) in scenes.items():
        place = Window(0, 0, *truth.shape)
        for number, name in enumerate(report["subsets"]):
            share, _, damaged = name.partition(":")
            versions = dict(images)
            for modality, letter in letters.items():
                if letter in damaged.split("+"):
                    chance = uniform(scenario.key(scene, modality), place, len(images[modality]))
                    lost = chance < float(share)
                    assert abs(lost.mean() - float(share)) < 0.06
                    versions[modality] = np.where(lost, 0, images[modality])
            assert_counts(counts[scene][number], pixelwise_counts(versions, truth))


def test_zeros_stand_for_what_is_missing(tiny_stores: Path, tmp_path: Path, scenes: dict) -> None:
    evaluate_script(str(tiny_stores), 1, False, str(tmp_path / "zero"), "zero_normalised")
    counts, report = read_result(tmp_path / "zero")
    # all of them cannot be missing
    sets = ["R", "D", "N", "R+D", "R+N", "D+N"]
    assert report["subsets"] == ["clean", *(f"absent:{letters}" for letters in sets)]
    for scene, (images, truth) in scenes.items():
        only_nir = {"nir": images["nir"]}
        assert_counts(counts[scene][4], pixelwise_counts(only_nir, truth))
        assert_counts(counts[scene][0], pixelwise_counts(images, truth))


def test_damage_is_the_same_for_all_workers_batches_and_processes(
    tiny_stores: Path, tmp_path: Path
) -> None:
    evaluate_script(str(tiny_stores), 1, True, str(tmp_path / "one"), "holes")
    one, _ = read_result(tmp_path / "one")
    evaluate_script(str(tiny_stores), 1, True, str(tmp_path / "workers"), "holes", 2, 1)
    # a process of its own: what forks must not have used OpenMP before
    words = [sys.executable, str(SCRIPT), str(tiny_stores), str(tmp_path / "two"), "2", "holes"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("workers", "two"):
        other, _ = read_result(tmp_path / name)
        for scene in one:
            assert np.array_equal(one[scene], other[scene])


def test_scenes_that_lack_a_sensor_are_not_scored(tiny_stores: Path) -> None:
    data = SceneDataModule("tiny", str(tiny_stores), window=32, batch_size=8, num_workers=0)
    [data.scenario] = read_scenarios(["zero_normalised"])
    first, *others = data.splits["test"]
    paths = {name: path for name, path in first.paths.items() if name != "nir"}
    data.splits["test"] = [replace(first, paths=paths), *others]
    evaluation = DamageEvaluation(data.scenario)
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[evaluation],
    )
    model = SCRIPTED["Pixelwise"](data.channels, data.num_classes)
    trainer.test(model, data, verbose=False)
    result = evaluation.result
    assert result is not None
    assert not result.counts[0].any() and not result.scored[:, 0].any()
    assert result.scored[:, 1:].all() and all(counts.any() for counts in result.counts[1:])


def test_a_scenario_needs_a_sensor_that_suffers_it(tiny_stores: Path) -> None:
    data = SceneDataModule("tiny", str(tiny_stores), window=32, num_workers=0)
    [speckle] = read_scenarios(["speckle"])
    with pytest.raises(UserError, match="tiny has no sensor for speckle .*only rgb .optical"):
        damaged_modalities(data, speckle)


def test_labels_are_not_damaged(tiny_stores: Path) -> None:
    data = SceneDataModule("tiny", str(tiny_stores), window=32, num_workers=0)
    plain = list(data.test_dataloader())
    [data.scenario] = read_scenarios(["holes"])
    for before, after in zip(plain, data.test_dataloader(), strict=True):
        assert (before["mask"] == after["mask"]).all()
        assert (before["region"] == after["region"]).all()
        assert not before["damaged"] and after["damaged"].keys() == after["image"].keys()
        for name, image in before["image"].items():
            assert (image == after["image"][name]).all()
            # a version for each severity
            assert after["damaged"][name].shape == (len(image), 3, *image.shape[1:])


def test_scenarios_go_by_name_group_or_all() -> None:
    names = [scenario.name for scenario in read_scenarios(["rmm", "absence", "rmm"])]
    assert names == ["black_raw", "rmm", "zero_normalised"]
    assert {"rmm", "nm", "holes"} < {scenario.name for scenario in read_scenarios()}
    with pytest.raises(UserError, match="Unknown SCENARIO 'fog'; valid are: all, absence"):
        read_scenarios(["fog"])
