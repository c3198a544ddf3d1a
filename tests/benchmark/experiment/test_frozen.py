"""Whole runs of a method whose checkpoints hold only what was trained."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.__main__ import main
from benchmark.experiment.identity import identify_config
from benchmark.records.record import read_record
from methods.frozen_vit import build_vit
from methods.mobanet.module import MoBaNet

WORDS = "--data.window 64 --data.batch_size 2 --data.num_workers 0 --trainer.max_epochs 2"
WORDS += " --trainer.max_steps -1 --trainer.val_check_interval 1000 --trainer.accelerator cpu"
WORDS += " --trainer.enable_progress_bar false"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with weights for the tiny backbone."""
    file = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(build_vit("vit_tiny_patch8", False, None, seed=77).state_dict(), file)
    return file


def bench(stores: Path, runs: Path, weights: Path) -> int:
    places = ["--store", str(stores), "--runs", str(runs)]
    words = ["bench", "--method", "mobanet", "--data", "tiny", *places, *WORDS.split()]
    return main([*words, "--model.pretrained", "true", "--model.pretrained_path", str(weights)])


def only_run(runs: Path) -> Path:
    (found,) = runs.rglob("config.json")
    return found.parent


def checkpoint(runs: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(
        only_run(runs) / "checkpoints" / "last.ckpt", weights_only=True
    )
    return content


@pytest.fixture(scope="module")
def finished(tiny_stores: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("work") / "runs"
    assert bench(tiny_stores, runs, weights) == 0
    return runs


def test_a_checkpoint_holds_only_what_was_trained(finished: Path) -> None:
    content = checkpoint(finished)
    assert not [name for name in content["state_dict"] if "backbone.model" in name]
    trained = sum(
        value.numel() for name, value in content["state_dict"].items() if "running" not in name
    )
    file = only_run(finished) / "checkpoints" / "last.ckpt"
    # weights and AdamW's two averages in float32, and little else
    assert 12 * trained < file.stat().st_size + 1e5 and file.stat().st_size < 12 * trained + 5e5


def test_a_record_names_the_weights_by_their_content(finished: Path, weights: Path) -> None:
    text = (only_run(finished) / "record" / "manifest.json").read_text()
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert str(weights.parent) not in text and digest in text
    manifest = read_record(only_run(finished) / "record").manifest
    assert identify_config(manifest.config, manifest.fingerprint)[0] == manifest.identity, (
        "a reader of the record comes to its identity without the file"
    )


def test_evaluating_fetches_the_frozen_weights(
    finished: Path,
    tiny_stores: Path,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Evaluation asks for no pretrained weights, since elsewhere the checkpoint replaces them."""
    run = only_run(finished)
    words = ["evaluate", "--checkpoint", str(run / "checkpoints" / "last.ckpt")]
    words += ["--store", str(tiny_stores)]
    assert main([*words, "--out", str(tmp_path / "same")]) == 0
    evaluated, recorded = read_record(tmp_path / "same" / "record"), read_record(run / "record")
    assert recorded.manifest.protocol.selected == "last"
    assert np.array_equal(evaluated.counts, recorded.counts)

    capsys.readouterr()
    other = ["--model.backbone", "samvit_tiny_patch8", "--out", str(tmp_path / "other")]
    assert main([*words, *other]) == 2
    text = "frozen backbone is vit_tiny_patch8, not samvit_tiny_patch8"
    assert text in capsys.readouterr().err
    moved = tmp_path / "moved.pth"
    shutil.copy(weights, moved)
    hidden = weights.rename(weights.with_suffix(".hidden"))
    try:
        assert main([*words, "--out", str(tmp_path / "gone")]) == 2
        assert "pretrained_path: there is no weight file" in capsys.readouterr().err
        found = ["--model.pretrained_path", str(moved), "--out", str(tmp_path / "moved")]
        assert main([*words, *found]) == 0
        assert np.array_equal(read_record(tmp_path / "moved" / "record").counts, evaluated.counts)
        torch.save(build_vit("vit_tiny_patch8", False, None, seed=78).state_dict(), moved)
        assert main([*words, *found]) == 2
        assert "not those the checkpoint was trained on" in capsys.readouterr().err
    finally:
        hidden.rename(weights)


def test_an_interrupted_cell_continues_to_the_same_weights(
    finished: Path,
    tiny_stores: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(self: MoBaNet) -> None:
        if self.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MoBaNet, "on_train_epoch_start", interrupt)
        try:
            assert bench(tiny_stores, tmp_path, weights) == 130
        except SystemExit as stop:
            assert stop.code not in (0, None)
    assert not (only_run(tmp_path) / "record").exists()
    assert bench(tiny_stores, tmp_path, weights) == 0
    whole, cut = checkpoint(finished)["state_dict"], checkpoint(tmp_path)["state_dict"]
    assert set(whole) == set(cut) and all(torch.equal(whole[name], cut[name]) for name in whole)
    counts = [read_record(only_run(runs) / "record").counts for runs in (finished, tmp_path)]
    assert np.array_equal(*counts)
