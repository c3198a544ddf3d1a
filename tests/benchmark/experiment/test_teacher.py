"""A student and its teacher: identities, which is trained when, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.__main__ import main
from benchmark.commands.teacher import TEACHER
from benchmark.experiment.lightning_cli import resolve_experiment
from benchmark.experiment.request import Request
from benchmark.experiment.train import hash_weights
from benchmark.records.record import read_record
from benchmark.sweep.plan import plan_cells
from benchmark.sweep.sweep_file import Resources, Wanted
from tests.support.sweeps import start_imss, wait_for
from usererror import TERMINATED

SMALL = ("--data.window=32", "--data.batch_size=2", "--data.num_workers=0")
SMALL += ("--trainer.max_steps=2", "--trainer.val_check_interval=2", "--trainer.accelerator=cpu")
SMALL += ("--trainer.enable_progress_bar=false",)


def bench(stores: Path, runs: Path, *words: str, method: str = "anyseg") -> int:
    options = ["--method", method, "--data", "tiny", "--store", str(stores), "--runs", str(runs)]
    return main(["bench", *options, *SMALL, *words])


def run_of(runs: Path, method: str) -> Path:
    (found,) = (runs / "tiny" / method).glob("pvt*")
    return found


@pytest.fixture(scope="module")
def finished(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("taught") / "runs"
    assert bench(tiny_stores, runs) == 0
    return runs


def test_the_teacher_is_in_the_identity(tiny_stores: Path) -> None:
    def resolve(*words: str, method: str = "anyseg", seed: int = 0):
        request = Request(method, "tiny", seed=seed, store=tiny_stores, overrides=words)
        return resolve_experiment(request.named())

    plain = resolve()
    assert plain.teacher
    assert plain.teacher.identity == resolve(method="control").identity
    slower = resolve("--cell.teacher_words=[--model.optimizer.lr=1e-5]")
    assert slower.identity != plain.identity and slower.group != plain.group
    own = resolve("--model.optimizer.lr=1e-5")
    assert own.teacher and own.teacher.identity == plain.teacher.identity
    assert own.identity != plain.identity
    # steps and windows are the teacher's too
    shorter = resolve("--trainer.max_steps=9")
    assert shorter.teacher and shorter.teacher.config["trainer"]["max_steps"] == 9
    # a small GPU is as small for the teacher
    divided = resolve("--cell.accumulate=4")
    assert divided.teacher and divided.teacher.config["trainer"]["accumulate_grad_batches"] == 4
    other = resolve(seed=1)
    assert (other.identity != plain.identity, other.group) == (True, plain.group)
    assert plain.with_seed(1).identity == other.identity


def test_teacher_and_student_leave_a_record_each(finished: Path) -> None:
    student, teacher = run_of(finished, "anyseg"), run_of(finished, "control")
    stages = read_record(student / "record").manifest.stages
    assert [stage.stage for stage in stages] == ["teacher", "student"]
    assert [stage.subsets for stage in stages] == ["full", "size_uniform per batch"]
    manifest = read_record(teacher / "record").manifest
    assert stages[0].identity == manifest.identity and not manifest.stages
    for stage, run in zip(stages, (teacher, student), strict=True):
        name = read_record(run / "record").manifest.checkpoint
        state = torch.load(run / name, weights_only=True)["state_dict"]
        assert stage.weights_sha256 == hash_weights(state)


def test_a_second_student_uses_the_teacher_that_is_there(
    finished: Path, tiny_stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run_of(finished, "control") / "record" / "manifest.json").stat().st_mtime_ns
    # the weights that the record names are the best ones
    (run_of(finished, "control") / "checkpoints" / "last.ckpt").unlink()
    assert bench(tiny_stores, finished, method="control_distilled") == 0
    assert "The teacher control is trained" in capsys.readouterr().out
    assert (run_of(finished, "control") / "record" / "manifest.json").stat().st_mtime_ns == before


def test_another_teacher_than_at_the_start_is_refused(
    finished: Path, tiny_stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(finished, "anyseg")
    (run / "record" / "manifest.json").rename(run / "kept.json")
    note = json.loads((run / TEACHER).read_text())
    (run / TEACHER).write_text(json.dumps({**note, "weights_sha256": "0" * 64}))
    try:
        assert bench(tiny_stores, finished) == 2
        said = capsys.readouterr().err
        assert "was trained anew" in said and "FORCE=1" in said
    finally:
        (run / TEACHER).write_text(json.dumps(note))
        (run / "kept.json").rename(run / "record" / "manifest.json")


@pytest.mark.parametrize(
    ("method", "word", "said"),
    [
        ("sgma", "--cell.teacher=control", "learns from no teacher"),
        ("anyseg", "--cell.teacher=nobody", "nobody"),
        ("anyseg", "--cell.teacher=anyseg_kd", "has a teacher itself"),
        ("anyseg", "--cell.teacher_words=[--model.head_width=8]", "head_width 8"),
    ],
)
def test_what_cannot_teach_is_one_line(
    method: str, word: str, said: str, tiny_stores: Path, tmp_path: Path, capsys
) -> None:
    assert bench(tiny_stores, tmp_path / "runs", word, method=method) == 2
    # before anything is trained
    assert not list(tmp_path.rglob("*.ckpt"))
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1] and lines[-1].startswith("imss:")


def test_a_teacher_that_fails_is_the_last_line_of_its_student(
    tiny_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("benchmark.commands.teacher.run_command", lambda words: 3)
    with pytest.raises(SystemExit, match="3"):
        bench(tiny_stores, tmp_path / "runs")
    assert not list(tmp_path.rglob("*.ckpt"))
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("imss: Not trained. Its teacher control ended with status 3")


def test_a_plan_has_the_teacher_once(tiny_stores: Path, tmp_path: Path) -> None:
    request = Request("anyseg", "tiny", runs=tmp_path, store=tiny_stores)
    wanted = [Wanted(replace(request, seed=seed), Resources()) for seed in (0, 1)]
    wanted.append(Wanted(replace(request, method="control", seed=1), Resources(minutes=7)))
    cells = plan_cells(wanted)
    labels = [(cell.request.method, cell.request.seed) for cell in cells]
    assert labels == [("anyseg", 0), ("anyseg", 1), ("control", 1), ("control", 0)]
    assert not any(cell.problem for cell in cells)
    assert [cell.teacher for cell in cells] == [cells[3].identity, cells[2].identity, "", ""]
    assert cells[2].resources.minutes == 7


def test_both_continue_where_they_were_ended(tiny_stores: Path, tmp_path: Path) -> None:
    words = [word.replace("max_steps=2", "max_steps=8") for word in SMALL]
    words += ["--data.epoch_windows=4", f"--store={tiny_stores}", "--no-leaderboard"]

    def start(runs: Path) -> subprocess.Popen[str]:
        return start_imss("bench", "--method=anyseg", "--data=tiny", f"--runs={runs}", *words)

    ended = tmp_path / "ended"
    for method in ("control", "anyseg"):
        process = start(ended)
        wait_for(lambda: [*(ended / "tiny" / method).glob("*/checkpoints/last.ckpt")])  # noqa: B023
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate()
        assert process.returncode == TERMINATED, said
    assert start(ended).wait() == 0
    assert start(tmp_path / "straight").wait() == 0
    stages = []
    for runs in (ended, tmp_path / "straight"):
        stages.append(read_record(run_of(runs, "anyseg") / "record").manifest.stages)
    assert stages[0] == stages[1]
