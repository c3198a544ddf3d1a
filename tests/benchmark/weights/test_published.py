"""A run as a safetensors file with a card: what comes back, what a hub reads, what is refused."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from huggingface_hub import ModelCard
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import imss
from benchmark.__main__ import main
from benchmark.experiment.request import Request
from benchmark.experiment.restore import TrainedRun
from benchmark.records.record import read_record
from benchmark.weights.card import model_card
from benchmark.weights.published import FILE, write_weights
from methods.frozen_vit import FrozenViT
from methods.mobanet.module import MoBaNet
from tests.support.method_checks import SMALL
from tests.support.short_run import train_one_step
from usererror import UserError


@pytest.fixture(scope="module")
def run_dir(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["--model.backbone", SMALL["backbone"], "--model.head_width", "16"]
    return train_one_step(tiny_stores, tmp_path_factory.mktemp("runs"), "sgma", words=words)


@pytest.fixture(scope="module")
def folder(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command wrote."""
    out = tmp_path_factory.mktemp("published")
    words = ["--run", str(run_dir), "--out", str(out), "--licence", "cc-by-4.0"]
    assert main(["publish-weights", *words]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "model.safetensors"]
    return out


@pytest.fixture(scope="module")
def images(tiny_source: Path) -> dict[str, np.ndarray]:
    found = {}
    for name in ("rgb", "dsm", "nir"):
        with rasterio.open(tiny_source / f"three_{name}.tif") as file:
            found[name] = file.read()[None, :, :40, :48]
    return found


def test_predictions_are_those_of_the_run(
    folder: Path, run_dir: Path, images: dict[str, np.ndarray], tiny_source: Path, tmp_path: Path
) -> None:
    run, back = imss.load_run(run_dir), imss.load_weights(folder / FILE)
    assert (back.inputs, back.title) == (run.inputs, run.title) and not back.model.training
    for subset in (["dsm"], ["rgb", "nir"], list(images)):
        given = {name: images[name] for name in subset}
        expected = imss.predict_images(run, given)
        assert torch.equal(imss.predict_images(back, given), expected), subset
    files = {name: tiny_source / f"five_{name}.tif" for name in ("rgb", "dsm")}
    shares = [imss.map_rasters(one, files, tmp_path / "map.tif", quiet=True) for one in (run, back)]
    assert shares[0] == shares[1]
    with pytest.raises(UserError, match="name no data"):
        _ = back.data


def test_the_code_of_the_card_runs(
    folder: Path,
    run_dir: Path,
    images: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line]) <= 6
    monkeypatch.chdir(folder)
    names: dict[str, Any] = dict(images)
    exec(code, names)
    assert torch.equal(names["logits"], imss.predict_images(imss.load_run(run_dir), images))
    assert set(names["labels"]) <= {"ground", "building", "tree"}
    assert capsys.readouterr().out.strip() == str(names["labels"])


def test_a_hub_reads_the_card(folder: Path, run_dir: Path) -> None:
    card = ModelCard.load(folder / "README.md")
    assert (card.data.license, card.data.pipeline_tag) == ("cc-by-4.0", "image-segmentation")
    assert "sgma" in card.data.tags and card.data.datasets == ["tiny"]
    record = read_record(run_dir / "record")
    expected = {}
    for name, matrix in zip(record.subsets, record.matrices(), strict=True):
        assert not record.convention.ignored
        hits = np.diag(matrix)
        union = matrix.sum(0) + matrix.sum(1) - hits
        expected[f"mIoU, {name}"] = 100 * np.mean(hits[union > 0] / union[union > 0])
        expected[f"OA, {name}"] = 100 * hits.sum() / matrix.sum()
    found = {one.metric_name: one.metric_value for one in card.data.eval_results}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=6e-3), name
    average = np.mean([value for name, value in expected.items() if "mIoU" in name])
    line = next(line for line in card.text.splitlines() if "**Average**" in line)
    assert float(line.split("|")[2]) == pytest.approx(average, abs=6e-3)
    assert "**A trial**" in card.text and "ground, building, tree" in card.text


def test_nothing_private_is_published(folder: Path, run_dir: Path, tiny_stores: Path) -> None:
    text = (folder / "README.md").read_text() + json.dumps(description(folder / FILE))
    for place in (run_dir.parents[2], tiny_stores):
        assert str(place) not in text
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", text)
    assert not re.search(r"[\"' (]/\w", text), "an absolute path"


def description(path: Path) -> Any:
    """What the file says of its network."""
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["imss"])


def rewritten(out: Path, tensors: dict[str, Tensor], told: Any) -> Path:
    """The published file with other tensors, or with another description."""
    path = out / FILE
    save_file(tensors, path, metadata=None if told is None else {"imss": json.dumps(told)})
    return path


def test_other_files_are_refused_with_one_line(folder: Path, tmp_path: Path) -> None:
    source = folder / FILE
    tensors = load_file(source)
    told = description(source)
    key = next(name for name in tensors if name.endswith("weight"))
    less = {name: value for name, value in tensors.items() if name != key}
    outside = {**told, "model": {"class_path": "os.system", "init_args": {}}}
    unknown = {**told, "model": {**told["model"], "init_args": {"depth": 3}}}
    cases = [
        (less, told, f"does not fit sgma.*{key}"),
        ({**tensors, "more": torch.ones(1)}, told, "does not fit sgma.*more"),
        ({**tensors, key: torch.ones(2, 5)}, told, "does not fit sgma"),
        ({**tensors, key: tensors[key] * torch.nan}, told, "not finite"),
        (tensors, None, "does not say of which network"),
        (tensors, [1], "cannot be read"),
        (tensors, {**told, "format": 9}, "this version reads 1"),
        (tensors, {**told, "method": "../up"}, "."),
        (tensors, outside, "not part of the suite"),
        (tensors, unknown, "does not fit this version"),
    ]
    for state, says, said in cases:
        path = rewritten(tmp_path, state, says)
        with pytest.raises(UserError, match=said) as error:
            imss.load_weights(path)
        assert "\n" not in str(error.value)
    for content in (b"", b"no weights at all", source.read_bytes()[:-9]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as a safetensors file"):
            imss.load_weights(path)
    with pytest.raises(UserError, match="cannot be read as a safetensors file"):
        imss.load_weights(tmp_path / "none.safetensors")


def test_a_frozen_backbone_is_loaded_beside_the_file(
    run_dir: Path, images: dict[str, np.ndarray], tmp_path: Path
) -> None:
    inputs = imss.load_run(run_dir).inputs
    name, weights = "vit_tiny_patch8", tmp_path / "backbone.pth"
    torch.manual_seed(3)
    torch.save(dict(FrozenViT(name, seed=5).model.named_buffers()), weights)
    options = {"backbone": name, "pretrained": True, "pretrained_path": str(weights)}
    model = MoBaNet(inputs.channels, len(inputs.outputs), **options).eval()
    model = model.to(memory_format=torch.channels_last)
    section = {"class_path": "methods.mobanet.module.MoBaNet", "init_args": options}
    run = TrainedRun(model, inputs, Request("mobanet", "tiny"), {"model": section})
    path = tmp_path / FILE
    write_weights(run, path)
    assert not any("blocks" in name for name in load_file(path))
    assert str(weights).encode() not in path.read_bytes()
    given = {"rgb": images["rgb"], "dsm": images["dsm"]}
    back = imss.load_weights(path, pretrained_path=str(weights))
    assert torch.equal(imss.predict_images(back, given), imss.predict_images(run, given))
    with pytest.raises(UserError, match="timm has no weights for vit_tiny_patch8"):
        imss.load_weights(path)
    record = read_record(run_dir / "record")
    card = model_card(run, record, {}, "other")
    assert "The backbone is frozen" in card and "Training started from `vit_tiny_patch8`" in card
    assert "licence is: unknown here" in card and str(weights) not in card
