"""What is asked of a Slurm, and what is said of its answers; a real one is in test_sweeps.py."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from benchmark.__main__ import main
from benchmark.experiment.request import Request
from benchmark.sweep.cell_states import CellState
from benchmark.sweep.jobs import cancel_jobs, log_file, note_jobs, queued_jobs, queued_jobs_if_any
from benchmark.sweep.plan import Cell, Plan
from benchmark.sweep.slurm_engine import submit_follow_up
from benchmark.sweep.status import DRIVER, goes_on
from benchmark.sweep.sweep_file import Resources
from usererror import UserError


def cells_below(runs: Path) -> list[Cell]:
    cells = []
    for seed in range(12):
        request = Request("m3l", "tiny", seed=seed, runs=runs)
        cells.append(Cell(request, Resources(), f"id{seed}", name=f"seed{seed}"))
    return cells


@pytest.mark.parametrize("answer", [None, "echo too busy >&2; exit 1"])
def test_a_queue_that_does_not_answer_is_not_an_empty_one(
    answer: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer:
        for name in ("squeue", "scancel"):
            (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
            (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="too busy" if answer else "squeue"):
        queued_jobs()
    with pytest.raises(UserError, match="scancel"):
        cancel_jobs(["1_0"])
    assert queued_jobs_if_any() == set()


class Executor:
    """Stands for submitit's."""

    given: dict[str, Any]

    def __init__(self, folder: Path) -> None:
        pass

    def update_parameters(self, **given: Any) -> None:
        Executor.given = given

    def submit(self, *words: Any) -> None:
        if Executor.given["partition"] == "full":
            raise RuntimeError("no room")


def test_what_writes_the_tables_is_submitted_as_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("submitit.SlurmExecutor", Executor)
    resources = Resources(gpus=4, nodes=2, minutes=900, memory="9G", partition="gpu")
    resources = resources.model_copy(update={"slurm": {"account": "lab"}, "setup": ["load"]})
    submit_follow_up("mine", ["sweep-status"], ["7_0", "7_1", "9"], tmp_path, resources)
    given = Executor.given
    assert (given["partition"], given["setup"], given["time"]) == ("gpu", ["load"], 15)
    assert given["additional_parameters"] == {"requeue": True, "account": "lab"}
    assert given["dependency"] == "afterany:7:9" and "gpus_per_node" not in given
    full = resources.model_copy(update={"partition": "full"})
    with pytest.raises(UserError, match="no room"):
        submit_follow_up("mine", ["sweep-status"], ["7"], tmp_path, full)


def test_the_log_of_a_number_is_of_that_cell_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells, folder = cells_below(tmp_path / "runs"), tmp_path / "sweeps" / "mine"
    Plan("mine", tuple(cells)).write(folder)
    note_jobs(folder, {f"7_{number}": cell for number, cell in enumerate(cells)})
    (folder / "jobs").mkdir()
    for number in range(len(cells)):
        log_file(folder, f"7_{number}").write_text(f"said {number}\n")
    words = ["sweep", "logs", "mine", "--runs", str(tmp_path / "runs"), "--cell"]
    for cell, expected in (("1", ["said 1"]), ("seed1", ["said 1", "said 10", "said 11"])):
        assert main([*words, cell]) == 0
        said = capsys.readouterr().out.splitlines()
        assert [line for line in said if line.startswith("said")] == expected


def test_cancelling_takes_off_the_queue_what_it_was_given_and_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells, folder = cells_below(tmp_path / "runs"), tmp_path / "sweeps" / "mine"
    Plan("mine", tuple(cells)).write(folder)
    words = ["sweep", "cancel", "mine", "--runs", str(tmp_path / "runs")]
    monkeypatch.setenv("PATH", str(tmp_path))
    note_jobs(folder, {"seed0-1/7": cells[0]})
    # without a queue
    assert main(words) == 0
    note_jobs(folder, {"7_1": cells[1], "8": cells[2], "9": cells[3]})
    assert main(words) == 2 and "does not answer" in capsys.readouterr().err
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 7; echo 7_1; echo 8\n")
    (tmp_path / "scancel").write_text(f"#!/bin/sh\necho $* > {tmp_path}/cancelled\n")
    for name in ("squeue", "scancel"):
        (tmp_path / name).chmod(0o755)
    assert main(words) == 0 and "Cancelled 2 jobs" in capsys.readouterr().out
    assert (tmp_path / "cancelled").read_text().split() == ["7_1", "8"]


def test_a_look_is_repeated_while_something_goes_on(tmp_path: Path) -> None:
    (cell, *_) = cells_below(tmp_path)
    for state, expected in (("queued", True), ("running", True), ("interrupted", False)):
        assert goes_on([CellState(cell, "done"), CellState(cell, state)], tmp_path) == expected
    (tmp_path / DRIVER).touch()
    assert goes_on([CellState(cell, "missing")], tmp_path)
    old = time.time() - 3600
    os.utime(tmp_path / DRIVER, (old, old))
    assert not goes_on([CellState(cell, "missing")], tmp_path)
