"""Training that diverges ends with one line and leaves no record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.__main__ import main
from benchmark.evaluation.divergence import all_finite
from methods.control.module import Control
from tests.benchmark.experiment.test_bench import bench, one_line, only_run

NAN = float("nan")
STEPS = ["--trainer.max_steps", "4"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "cropped"])
def test_one_value_anywhere_is_noticed(dtype: torch.dtype, layout: str) -> None:
    whole = torch.zeros(2, 3, 5, 37, dtype=dtype)
    if layout == "channels_last":
        whole = whole.to(memory_format=torch.channels_last)
    logits = whole[..., 1:, :-2] if layout == "cropped" else whole
    largest = torch.finfo(dtype).max
    logits[0, 0, 0, :4] = torch.tensor([largest, largest, -largest, -largest], dtype=dtype)
    assert all_finite([logits, torch.zeros(0), torch.ones(3, dtype=torch.int64)])
    for place in np.ndindex(*logits.shape):
        for value in (NAN, torch.inf, -torch.inf):
            kept, logits[place] = logits[place].clone(), value
            assert not all_finite([torch.ones((), dtype=dtype), logits]), (place, value)
            logits[place] = kept


def no_record(runs: Path) -> bool:
    return not list(runs.rglob("manifest.json")) and not list(runs.parent.glob("leaderboards/*"))


@pytest.mark.parametrize("diverged", ["loss", "weights", "logits"])
def test_what_is_not_finite_is_no_result(
    diverged: str,
    tiny_stores: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if diverged == "loss":
        terms = Control.training_losses

        def losses(self: Any, batch: Any) -> Any:
            # once, and without a trace in the weights
            scale = NAN if self.global_step == 2 else 1.0
            return {name: term + scale - 1.0 for name, term in terms(self, batch).items()}

        monkeypatch.setattr(Control, "training_losses", losses)
    elif diverged == "weights":

        def spoil(self: Any, *_: Any) -> None:
            next(self.parameters()).data.fill_(torch.inf)

        # after the last look at a loss
        monkeypatch.setattr(Control, "on_train_epoch_end", spoil, raising=False)
    else:
        decode = Control.decode

        def one_pixel(self: Any, *given: Any) -> torch.Tensor:
            logits = decode(self, *given)
            logits[..., 0, 0] = NAN
            return logits

        monkeypatch.setattr(Control, "decode", one_pixel)
    assert bench(tiny_stores, tmp_path / "runs", *STEPS, method="control") == 2
    assert "not finite" in one_line(capsys) and no_record(tmp_path / "runs")


def test_a_learning_rate_that_destroys_the_weights_stops_the_run(
    tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*STEPS, "--model.optimizer.lr", "1e30"]
    assert bench(tiny_stores, tmp_path / "runs", *words, method="control") == 2
    line = one_line(capsys)
    assert "not finite at step" in line and "lr" in line and no_record(tmp_path / "runs")
    # the same command says the same again
    assert bench(tiny_stores, tmp_path / "runs", *words, method="control") == 2
    assert "not finite" in one_line(capsys) and no_record(tmp_path / "runs")


def test_weights_that_are_not_finite_are_not_evaluated(
    tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(tiny_stores, tmp_path / "runs", *STEPS, method="control") == 0
    checkpoint = only_run(tmp_path / "runs") / "checkpoints" / "best.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    next(iter(content["state_dict"].values())).fill_(NAN)
    torch.save(content, checkpoint)
    capsys.readouterr()
    words = ["evaluate", "--checkpoint", str(checkpoint), "--store", str(tiny_stores)]
    assert main([*words, "--out", str(tmp_path / "again")]) == 2
    assert "diverged" in one_line(capsys) and not (tmp_path / "again" / "record").exists()
