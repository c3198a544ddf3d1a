"""The callback: every pixel of every scene once, in one process or two."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from sklearn.metrics import confusion_matrix, jaccard_score

from benchmark.metrics.subsets import modality_subsets
from datamodules.base import SceneDataModule
from datamodules.store.scene_store import Scene

SCRIPT = Path(__file__).with_name("evaluate_processes.py")
ROOT = Path(__file__).resolve().parents[3]


def read_result(out: Path) -> tuple[dict[str, np.ndarray], dict]:
    with np.load(f"{out}.npz") as counts:
        return dict(counts), json.loads(Path(f"{out}.json").read_text())


def evaluate_here(stores: Path, overlap: bool, out: Path) -> tuple[dict[str, np.ndarray], dict]:
    runpy.run_path(str(SCRIPT))["evaluate"](str(stores), 1, overlap, str(out))
    return read_result(out)


def start_script(stores: Path, out: Path, what: str) -> None:
    # a process of its own: what forks must not have used OpenMP before
    words = [sys.executable, str(SCRIPT), str(stores), str(out), what]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def overlapping(
    tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, np.ndarray], dict]:
    """Counts and report of one process with half-overlapping windows."""
    return evaluate_here(tiny_stores, True, tmp_path_factory.mktemp("one") / "counts")


def read_whole(data: SceneDataModule, scene: Scene) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Normalised rasters and label ids of a scene, without windows."""
    images = {}
    for layer in data.layers:
        with rasterio.open(scene.paths[layer.raster]) as file:
            values = layer.normalizer.to_valid(file.read(), scene.id)
        images[layer.name] = layer.normalizer.standardize(values, scene.id)
    with rasterio.open(scene.paths["label"]) as file:
        return images, file.read(1)


@pytest.fixture(scope="module")
def expected(tiny_stores: Path) -> dict[str, np.ndarray]:
    """Brute force: per scene and subset the confusion matrix of whole rasters, without windows."""
    data = SceneDataModule("tiny", str(tiny_stores), window=32, num_workers=0)
    matrices = {}
    for scene in data.splits["test"]:
        images, truth = read_whole(data, scene)
        values = {name: pixels.mean(0) for name, pixels in images.items()}
        per_subset = []
        for subset in modality_subsets(list(data.modalities)):
            total = sum(values[name] for name in subset)
            guess = np.stack([-total + 0.1, total, 0.2 * total + 0.3]).argmax(0)
            valid = truth != 255
            per_subset.append(confusion_matrix(truth[valid], guess[valid], labels=range(3)))
        matrices[scene.id] = np.array(per_subset)
    return matrices


def assert_same_pixels(counts: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(counts) == set(expected) == {"three", "four", "five"}
    for scene, matrices in expected.items():
        pooled = counts[scene].sum((1, 2))
        # float rounding at a tie of two logits may move a pixel; none is lost or counted twice
        assert pooled.sum((1, 2)).tolist() == matrices.sum((1, 2)).tolist()
        assert np.abs(pooled - matrices).max() <= 1


def test_overlapping_windows_count_every_pixel_once(
    overlapping: tuple[dict[str, np.ndarray], dict], expected: dict[str, np.ndarray]
) -> None:
    counts, report = overlapping
    assert report["subsets"] == ["R", "D", "N", "R+D", "R+N", "D+N", "R+D+N"]
    assert_same_pixels(counts, expected)


def test_reliability_is_of_the_pixels_that_are_counted(
    overlapping: tuple[dict[str, np.ndarray], dict],
) -> None:
    counts, report = overlapping
    matrices = sum(scene.sum((1, 2)) for scene in counts.values())
    sums = report["reliability"]
    assert np.sum(sums["pixels"], 1).tolist() == matrices.sum((1, 2)).tolist()
    assert np.sum(sums["hits"], 1).tolist() == np.trace(matrices, axis1=1, axis2=2).tolist()
    assert all(map(sum, sums["changed"][:-1])) and sums["changed"][-1] == [0, 0]


def test_windows_that_meet_count_every_pixel_once(
    tiny_stores: Path, tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    counts, _ = evaluate_here(tiny_stores, False, tmp_path / "counts")
    assert_same_pixels(counts, expected)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_with_uneven_scenes_or_none_count_the_same(
    processes: int,
    tiny_stores: Path,
    tmp_path: Path,
    overlapping: tuple[dict[str, np.ndarray], dict],
) -> None:
    start_script(tiny_stores, tmp_path / "two", str(processes))
    two, report = read_result(tmp_path / "two")
    one, report_one = overlapping
    for scene in one:
        assert np.array_equal(one[scene], two[scene])
    assert report_one["reliability"] == report["reliability"]
    assert report_one["metrics"] == pytest.approx(report["metrics"])


def test_ranks_see_the_same_gaps_and_end_with_the_same_weights(
    many_stores: Path, tmp_path: Path
) -> None:
    """One may be at work on scenes without a sensor while the other trains its encoder."""
    start_script(many_stores, tmp_path / "rank", "train")
    ranks = [torch.load(tmp_path / f"rank{number}.pt", weights_only=True) for number in range(2)]
    data = SceneDataModule("tiny", str(many_stores), num_workers=0, gap_rates=0.6)
    assert len(set(data.training_gaps.values())) > 1
    shown = ranks[0]["sensors"] | ranks[1]["sensors"]
    assert len(shown) == len(data.splits["train"])
    for rank in ranks:
        for scene, sensors in rank["sensors"].items():
            assert set(sensors) == set(data.modalities) - set(data.training_gaps.get(scene, ()))
    first, second = (rank["weights"] for rank in ranks)
    assert all(torch.equal(weights, second[name]) for name, weights in first.items())


def test_logged_scores_are_those_of_pooled_pixels(
    overlapping: tuple[dict[str, np.ndarray], dict], expected: dict[str, np.ndarray]
) -> None:
    report = overlapping[1]
    metrics = report["metrics"]
    mious = []
    for number, name in enumerate(report["subsets"]):
        matrix = sum(matrices[number] for matrices in expected.values())
        truth = np.repeat(np.arange(3), matrix.sum(1))
        guess = np.concatenate([np.repeat(np.arange(3), row) for row in matrix])
        mious.append(jaccard_score(truth, guess, average="macro"))
        assert metrics[f"test/miou/{name}"] == pytest.approx(mious[-1], abs=1e-3)
    assert metrics["test/average_miou"] == pytest.approx(np.mean(mious), abs=1e-3)
    assert metrics["test/top1_miou"] == pytest.approx(max(mious), abs=1e-3)
    assert metrics["test/last1_miou"] == pytest.approx(min(mious), abs=1e-3)
