"""The one line of progress: what it plans, what it estimates, what it prints."""

from __future__ import annotations

import re
import sys
from itertools import count, pairwise
from typing import Any

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from benchmark.tracking import progress
from benchmark.tracking.progress import EVALUATION, TRAINING, VALIDATION, RunProgress, TimeLeft

TRAIN, VAL, TEST = 5, 2, 4  # batches


class Line(L.LightningModule):
    """The smallest thing that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: torch.Tensor, _: int) -> None:
        self.log("val/average_miou", 0.25)

    def test_step(self, batch: torch.Tensor, _: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Data(L.LightningDataModule):
    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.ones(TRAIN, 1))  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.ones(VAL, 1))  # type: ignore[arg-type]

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.ones(TEST, 1))  # type: ignore[arg-type]


def run(bar: RunProgress, **options: Any) -> dict[str, tuple[int, float]]:
    """Fit and test; how many batches of each kind there were, and were planned at the start."""
    planned: dict[str, float] = {}

    class Plan(L.Callback):
        def on_train_start(self, *_: Any) -> None:
            assert bar.left is not None
            planned.update(bar.left.planned)

    trainer = L.Trainer(
        callbacks=[bar, Plan()], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip
    trainer.fit(Line(), datamodule=Data())
    trainer.test(Line(), datamodule=Data(), verbose=False)
    assert bar.left is not None
    return {kind: (bar.left.done[kind], number) for kind, number in planned.items()}


@pytest.mark.parametrize(
    ("options", "training", "validation"),
    [
        ({"max_epochs": 3}, 15, 3 * VAL),
        ({"max_steps": 7, "val_check_interval": 3, "check_val_every_n_epoch": None}, 7, 2 * VAL),
        ({"max_epochs": 4, "check_val_every_n_epoch": 2}, 20, 2 * VAL),
        ({"max_epochs": 2, "val_check_interval": 2}, 10, 4 * VAL),
        ({"max_epochs": 2, "limit_val_batches": 0}, 10, 0),
    ],
)
def test_the_plan_is_what_happens(options: dict[str, Any], training: int, validation: int) -> None:
    counted = run(RunProgress(), **options)
    assert counted == {
        TRAINING: (training, training),
        VALIDATION: (validation, validation),
        EVALUATION: (TEST, TEST),
    }


def test_plain_lines_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_S", -1.0)
    run(RunProgress(), max_epochs=2)
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if " %" in line]
    assert len(lines) == 2 * TRAIN + 2 * VAL + TEST + 1 and "\r" not in said.out + said.err
    assert "step 1/10, loss" in lines[0] and "left" in lines[0] and "Average 25.0" in lines[-6]
    assert lines[-1].startswith("100 % done in")
    shares = [int(line.split(" %")[0]) for line in lines]
    assert shares[0] < 50 and all(b > a - 30 for a, b in pairwise(shares))
    assert "v_num" not in said.out + said.err


def test_one_line_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "REDRAW_S", 0.0)
    run(RunProgress(), max_epochs=2)
    drawn = capsys.readouterr().err
    assert drawn.count("\n") == 1 and drawn.endswith("\n"), "training and evaluation share it"
    assert re.search(r"training, step \d/10, loss .* left", drawn) and "evaluation" in drawn


def test_time_is_estimated_by_kind() -> None:
    seconds = count()
    left = TimeLeft({TRAINING: 4, VALIDATION: 2, EVALUATION: 6}, lambda: next(seconds))
    for kind in (TRAINING, TRAINING, VALIDATION):
        left.count(kind)
    assert left.seconds == 2 + 1 + 6 and left.share == 3 / 12


def test_a_continued_run_is_as_far_as_all_of_its_attempts() -> None:
    seconds = iter([0.0, 2.0])
    left = TimeLeft({TRAINING: 5}, lambda: next(seconds), {TRAINING: 95})
    left.count(TRAINING)
    assert left.share == 96 / 100 and left.seconds == 8
