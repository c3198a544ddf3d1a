"""Networks that left the suite: what onnxruntime and a script without the suite make of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import rasterio
import torch

from benchmark.__main__ import main
from benchmark.experiment.restore import TrainedRun, load_trained_run
from benchmark.export.onnx_graph import export_onnx, parse_subsets
from benchmark.maps.predict_images import normalize_image
from tests.support.method_checks import SMALL
from tests.support.short_run import train_one_step
from usererror import UserError

SCRIPT = Path(__file__).parents[3] / "examples/onnx/map_geotiff.py"
WINDOW = 32


@pytest.fixture(scope="module")
def run_dir(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # SGMA keeps folded weights in eval mode, which must enter the graph
    words = ["--model.backbone", SMALL["backbone"], "--model.head_width", "16"]
    return train_one_step(tiny_stores, tmp_path_factory.mktemp("runs"), "sgma", words=words)


@pytest.fixture(scope="module")
def graphs(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graphs of heights alone, and of heights and infrared."""
    folder = tmp_path_factory.mktemp("graphs")
    words = ["--run", str(run_dir), "--subsets", "D,D+N", "--out", str(folder / "net.onnx")]
    assert main(["export", *words]) == 0
    return folder


@pytest.fixture(scope="module")
def trained(run_dir: Path) -> TrainedRun:
    return load_trained_run(run_dir)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read())


def test_a_graph_per_subset_gives_the_logits_of_torch(
    graphs: Path, trained: TrainedRun, tiny_source: Path
) -> None:
    assert {path.name for path in graphs.iterdir()} == {"net.D.onnx", "net.D+N.onnx"}
    images = {}
    for name in ("dsm", "nir"):
        pixels = read(tiny_source / f"three_{name}.tif")[:, :WINDOW, :WINDOW]
        images[name] = normalize_image(pixels, trained.inputs.modalities[name], name)[None]
    session = onnxruntime.InferenceSession(graphs / "net.D+N.onnx")
    assert [(one.name, one.shape) for one in session.get_inputs()] == [
        ("dsm", [1, 1, WINDOW, WINDOW]),
        ("nir", [1, 1, WINDOW, WINDOW]),
    ]
    with torch.inference_mode():
        expected = trained.model({name: torch.from_numpy(x) for name, x in images.items()})
    found = session.run(["logits"], images)[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_the_file_says_what_a_program_needs(graphs: Path, trained: TrainedRun) -> None:
    session = onnxruntime.InferenceSession(graphs / "net.D.onnx")
    told = json.loads(session.get_modelmeta().custom_metadata_map["imss"])
    assert list(told["modalities"]) == ["dsm"] and told["modalities"]["dsm"]["lowered"]
    assert [one["name"] for one in told["classes"]] == ["ground", "building", "tree"]
    assert (told["method"], told["window"], told["stride"]) == ("sgma", WINDOW, WINDOW // 2)
    assert told["stitching"] == trained.inputs.stitching


def test_a_script_without_the_suite_maps_as_the_command_does(
    graphs: Path, run_dir: Path, tiny_source: Path, tmp_path: Path
) -> None:
    files = [f"{name}={tiny_source / f'four_{name}.tif'}" for name in ("dsm", "nir")]
    ours, theirs = tmp_path / "ours.tif", tmp_path / "theirs.tif"
    assert main(["predict", "--run", str(run_dir), "--input", *files, "--out", str(ours)]) == 0
    words = [str(graphs / "net.D+N.onnx"), str(theirs), *files]
    # from a folder where nothing of the suite can be imported
    subprocess.run([sys.executable, "-I", str(SCRIPT), *words], cwd=tmp_path, check=True)
    assert (read(ours) == read(theirs)).mean() > 0.999
    assert sum(bool(line.strip()) for line in SCRIPT.read_text().splitlines()) <= 70


def test_mistakes_are_one_line_and_write_nothing(
    trained: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"no subset 'X'; there are: all, R, D, N, R\+D"):
        parse_subsets("D,X", trained)
    assert len(parse_subsets("all", trained)) == 7
    assert parse_subsets("", trained) == [("rgb", "dsm", "nir")]

    def differ(*given: Any) -> float:
        return 2e-4

    monkeypatch.setattr("benchmark.export.onnx_graph.compare", differ)
    with pytest.raises(UserError, match="differs from PyTorch by 2.0e-04"):
        export_onnx(trained, [("dsm",)], tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match="pip install onnx"):
        export_onnx(trained, [("dsm",)], tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
