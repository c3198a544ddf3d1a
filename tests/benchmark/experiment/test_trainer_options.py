"""Options that give no result, or one of a part of the scenes, are refused with one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.__main__ import main
from benchmark.experiment.models import checked_request
from benchmark.experiment.request import Request
from benchmark.records.trainer_options import check_trainer
from datamodules.base import SceneDataModule
from tests.benchmark.experiment.test_bench import bench, one_line
from tests.benchmark.experiment.test_cli import parse
from usererror import UserError

REFUSED = [
    ("limit_test_batches", 1),
    ("limit_test_batches", 0.5),
    ("limit_val_batches", 1),
    ("fast_dev_run", True),
    ("overfit_batches", 1),
    ("use_distributed_sampler", True),
    ("barebones", True),
    ("enable_checkpointing", False),
    ("max_steps", 0),
    ("max_epochs", 0),
    ("limit_train_batches", 0),
    ("limit_train_batches", 0.0),
    ("accumulate_grad_batches", 0),
    ("max_time", "00:00:00:01"),  # other steps on another machine
]


@pytest.mark.parametrize(("option", "value"), REFUSED)
def test_a_trainer_that_gives_no_whole_result_is_refused(option: str, value: Any) -> None:
    whole = {"max_steps": 2, "max_epochs": None, "limit_test_batches": 1.0, "barebones": False}
    check_trainer(whole)
    with pytest.raises(UserError, match=f"{option} {value}"):
        check_trainer(whole | {option: value})


def test_a_training_without_an_end_is_refused() -> None:
    for given in ({}, {"max_epochs": -1}, {"max_steps": -1}):
        with pytest.raises(UserError, match="needs an end"):
            check_trainer(given)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", 0),
        ("eval_batch_size", 0),
        ("window", 0),
        ("stride", 0),
        ("colour_jitter", -0.1),
        ("rotation", -5.0),
        ("num_workers", -1),
        ("epoch_windows", 0),
        ("stride", 0),
        ("colour_jitter", -0.1),
        ("rotation", -5.0),
        ("modalities", []),
        ("modalities", ["rgb", "rgb"]),
        ("scale_jitter", (0.0, 1.0)),
    ],
)
def test_numbers_that_data_cannot_have_are_named(
    option: str, value: Any, tiny_stores: Path
) -> None:
    with pytest.raises(UserError, match=option):
        SceneDataModule("tiny", str(tiny_stores), **{option: value})


def test_more_modalities_than_subsets_can_be_scored_are_named(
    tiny_stores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datamodules.base.MOST_MODALITIES", 2)
    with pytest.raises(UserError, match="3 modalities have 7 subsets"):
        SceneDataModule("tiny", str(tiny_stores))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_numpy_does_not_take_are_named(seed: int, tiny_stores: Path) -> None:
    request = Request("control", "tiny", store=tiny_stores)
    assert checked_request(request)
    with pytest.raises(UserError, match="SEED"):
        checked_request(replace(request, seed=seed))


def test_the_command_says_so_before_anything_is_built(
    tiny_stores: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("benchmark.experiment.lightning_cli.BenchCLI.instantiate_classes", None)
    words = ["--trainer.max_steps", "2", "--trainer.limit_test_batches", "1"]
    assert bench(tiny_stores, tmp_path / "runs", *words, method="control") == 2
    assert "limit_test_batches 1" in one_line(capsys)
    assert not list(tmp_path.rglob("config.json"))


def test_what_two_optimisers_cannot_do_is_one_line(
    tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--trainer.max_steps", "2", "--trainer.gradient_clip_val", "2"]
    assert bench(tiny_stores, tmp_path / "runs", *words, method="gemmnet_cgan") == 2
    assert "clipping is not supported" in one_line(capsys)


def test_a_divided_batch_moves_neither_steps_nor_validations() -> None:
    whole = parse("sgma", "miniature")
    parts = parse("sgma", "miniature", "standard", 0, "--cell.accumulate", "4")
    assert "accumulate" not in whole["cell"] and whole["trainer"]["accumulate_grad_batches"] == 1
    windows, steps = [], []
    for config in (whole, parts):
        trainer = config["trainer"]
        every = trainer["accumulate_grad_batches"]
        windows.append(config["data"]["init_args"]["batch_size"] * every)
        steps.append((trainer["val_check_interval"] / every, trainer["max_steps"]))
    assert windows == [8, 8] and steps[0] == steps[1] == (60, 300)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cell.accumulate", "3"], "of 8 windows give one of 2, 4, 8"),
        (["--cell.accumulate", "1"], "leave it out"),
        (["--cell.accumulate", "0"], "leave it out"),
        (["--cell.accumulate", "2", "--data.batch_size", "1"], "of 1 windows give none"),
        (["--cell.accumulate=2", "--trainer.accumulate_grad_batches=4"], "ACCUMULATE out"),
    ],
)
def test_what_does_not_divide_a_batch_is_named(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse("sgma", "miniature", "standard", 0, *words)


def test_a_method_that_steps_by_itself_cannot_accumulate(
    tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--trainer.max_steps", "2", "--accumulate", "2"]
    assert bench(tiny_stores, tmp_path / "runs", *words, method="gemmnet_cgan") == 2
    assert "accumulation is not supported" in one_line(capsys)


def test_no_miniature_is_made_for_a_command_that_cannot_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", "miniature", "--store", str(tmp_path), "--trainer.max_stepz", "3"]
    assert main(["bench", *words]) == 2
    assert "Did you mean --trainer.max_steps?" in one_line(capsys)
    assert not list(tmp_path.iterdir())
