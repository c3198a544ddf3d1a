"""What HARDWARE makes of a batch: the identity of ACCUMULATE, and words for what does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.__main__ import main
from benchmark.experiment.lightning_cli import resolve_config
from benchmark.experiment.request import Request
from benchmark.profiling import presets
from benchmark.profiling.presets import (
    GB,
    fit_batch,
    read_hardware,
    training_row,
    warn_if_too_small,
)
from benchmark.profiling.training_step import StepCost, count_step
from tests.support.mobanet_tiny import make as tiny_mobanet
from usererror import UserError

ASKED = Request("control", "miniature", "standard")


@pytest.fixture
def four_gb_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of 8 windows takes 1 GB and 4 GB for each; nothing is less than two windows."""

    def count(request: Request, side: int = 0) -> Iterator[tuple[int, int, StepCost]]:
        for parts in (1, 2, 4):
            windows = 8 // parts
            yield parts, windows, StepCost(GB, GB + 4 * GB * windows, 10.0 * windows)

    monkeypatch.setattr(presets, "count_divisions", count)


@pytest.mark.usefixtures("four_gb_a_window")
@pytest.mark.parametrize(("size", "parts"), [("80gb", 1), ("24GB", 2), ("16gb", 4)])
def test_a_preset_is_the_accumulation_that_could_be_typed(
    size: str, parts: int, capsys: pytest.CaptureFixture[str]
) -> None:
    # 33, 17 and 9 GB are needed; a tenth of a device and 1 GB are kept free
    found = fit_batch(ASKED, size)
    typed = () if parts == 1 else (f"--cell.accumulate={parts}",)
    assert found.overrides == typed
    assert f"{8 // parts} windows at a time" in capsys.readouterr().out
    if parts > 1:
        config = resolve_config(found)
        batches = config["trainer"]["accumulate_grad_batches"]
        assert (config["data"]["init_args"]["batch_size"], batches) == (8 // parts, parts)


@pytest.mark.usefixtures("four_gb_a_window")
def test_what_does_not_fit_is_one_line() -> None:
    with pytest.raises(UserError, match="needs about 9.0 GB with 2 windows.*smaller BACKBONE"):
        fit_batch(ASKED, "8gb")
    with pytest.raises(UserError, match="leave one of them out"):
        fit_batch(Request("control", "miniature", overrides=("--cell.accumulate", "2")), "24gb")


@pytest.mark.parametrize("word", ["24", "big", "0gb", "24.5gb", "24gbx"])
def test_other_words_are_no_hardware(word: str) -> None:
    with pytest.raises(UserError, match="8gb, 16gb, 24gb, 48gb, 80gb"):
        read_hardware(word)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_nothing_is_automatic() -> None:
    with pytest.raises(UserError, match="there is none"):
        read_hardware("auto")


@pytest.mark.usefixtures("four_gb_a_window")
def test_a_device_that_is_too_small_is_told_with_the_preset(
    capsys: pytest.CaptureFixture[str],
) -> None:
    warn_if_too_small(ASKED, 16 * GB)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "8 windows of control needs about 33.0 GB" in said and "HARDWARE=16gb" in said
    warn_if_too_small(ASKED, 6 * GB)
    assert "no division of the batch fits" in capsys.readouterr().out
    warn_if_too_small(ASKED, 80 * GB)
    warn_if_too_small(ASKED, None)
    assert not capsys.readouterr().out


def test_nothing_is_counted_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "count_divisions", None)
    warn_if_too_small(ASKED, presets.device_memory(torch.device("cpu")))


def test_what_cannot_be_counted_is_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(*given: Any) -> StepCost:
        raise RuntimeError("Tensor.item() cannot be called on meta tensors")

    monkeypatch.setattr(presets, "count_step", read)
    warn_if_too_small(ASKED, GB)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "1 GB" in said and "Tensor.item() cannot be called" in said
    with pytest.raises(UserError, match="cannot be counted without values.*give ACCUMULATE"):
        fit_batch(ASKED, "24gb")


def test_bench_warns_before_it_starts(
    tiny_stores: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*given: Any) -> None:
        raise UserError("it would start")

    monkeypatch.setattr("benchmark.experiment.train.train_and_score", stop)
    monkeypatch.setattr(presets, "device_memory", lambda device: 2 * GB)
    counted = iter([(1, 8, StepCost(0, 3 * GB, 1.0)), (2, 4, StepCost(0, GB // 2, 1.0))])
    monkeypatch.setattr(presets, "count_divisions", lambda request: counted)
    words = ["METHOD=control", "DATA=tiny", f"STORE={tiny_stores}", f"RUNS={tmp_path / 'runs'}"]
    assert main(["bench", *words]) == 2
    said = capsys.readouterr()
    assert "HARDWARE=2gb divides the batch (ACCUMULATE=2, a row of its own)" in said.out
    assert "it would start" in said.err


def test_what_stays_is_four_times_the_trained_and_once_the_frozen_weights() -> None:
    model = tiny_mobanet().to("meta").train()
    cost = count_step(model, 56, 2)
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    frozen = sum(p.nbytes for p in model.parameters() if not p.requires_grad)
    buffers = sum(b.nbytes for b in model.buffers())
    assert buffers and cost.kept == 4 * trained + frozen + buffers


def test_a_step_grows_with_its_windows_and_their_pixels() -> None:
    model = tiny_mobanet().to("meta").train()
    small, wide, many = (count_step(model, *given) for given in ((56, 2), (112, 2), (56, 8)))
    for other in (wide, many):
        assert other.kept == small.kept
        # four times the pixels; attention grows with their square, and what is kept not at all
        assert other.memory - other.kept > 3 * (small.memory - small.kept)
        assert other.gmac > 3.9 * small.gmac
    assert many.gmac == pytest.approx(4 * small.gmac, rel=0.01)


def test_a_row_names_the_windows_at_a_time_for_each_device() -> None:
    row = training_row(Request("control", "miniature", backbone="pvt_v2_b0"))
    assert (row["batch"], row["side"]) == (8, 128)
    assert row["80 GB"] == "8 x 1" and 0 < row["kept GB"] < row["memory GB"] < 8
