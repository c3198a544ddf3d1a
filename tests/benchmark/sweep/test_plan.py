"""Identities of a plan are those of the experiments that are built."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.choices import ROOT, methods
from benchmark.experiment.lightning_cli import build_cli, resolve_experiment
from benchmark.experiment.request import Request
from benchmark.sweep.plan import Plan, check_folder, name_of, plan_cells
from benchmark.sweep.sweep_file import Resources, Wanted
from usererror import UserError


@pytest.mark.parametrize("method", methods())
def test_the_planned_identity_is_the_one_of_the_built_experiment(
    method: str, tiny_stores: Path, tmp_path: Path
) -> None:
    request = Request(method, "tiny", seed=3, runs=tmp_path, store=tiny_stores)
    request = replace(request, overrides=("--data.num_workers=0",)).named()
    # the teacher of a student comes behind it
    cell, *_ = plan_cells([Wanted(request, Resources())])
    assert not cell.problem
    built = build_cli(request)
    assert (cell.identity, cell.group, cell.backbone) == (
        built.identity,
        built.group,
        built.backbone,
    )
    assert cell.run_dir == built.run_dir


def test_a_seed_that_is_set_is_the_seed_that_is_parsed(tiny_stores: Path) -> None:
    for method in ("sgma", "gemmnet_cgan"):
        request = Request(method, "tiny", store=tiny_stores)
        other = resolve_experiment(replace(request, seed=9))
        assert resolve_experiment(request).with_seed(9).identity == other.identity


def test_what_cannot_run_says_why_and_the_rest_is_planned(
    tiny_stores: Path, tmp_path: Path
) -> None:
    good = Request("control", "tiny", runs=tmp_path, store=tiny_stores)
    wanted = []
    for request in (
        good,
        replace(good, method="contrl"),
        replace(good, data="nowhere"),
        replace(good, seed=-1),
        replace(good, overrides=("--model.optimizer.lr=fast",)),
        replace(good, overrides=("--trainer.limit_test_batches=1",)),
        replace(good, overrides=("--trainer.log_every_n_steps=3",)),
    ):
        wanted.append(Wanted(request, Resources(gpus=1)))
    cells = plan_cells(wanted)
    problems = [cell.problem for cell in cells]
    assert not problems[0]
    for word, problem in zip(
        ("Did you mean control", "nowhere", "SEED", "lr", "limit_test_batches", "the same as"),
        problems[1:],
        strict=True,
    ):
        assert word in problem and "\n" not in problem, problem
    plan = Plan("mine", cells, tables=("sgma_I",))
    assert Plan.read(plan.write(tmp_path / "sweep")) == plan


def test_a_plan_is_read_without_torch(tiny_stores: Path, tmp_path: Path) -> None:
    request = Request("control", "tiny", runs=tmp_path, store=tiny_stores)
    Plan("mine", plan_cells([Wanted(request, Resources())])).write(tmp_path / "sweeps" / "mine")
    words = ["sweep", "status", "mine", "--runs", str(tmp_path / "runs")]
    code = "import sys; from benchmark.__main__ import main\n"
    code += f"try: main({words!r})\n"
    code += "except SystemExit as stop: sys.exit(stop.code + 100 * ('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    # unfinished
    assert done.returncode == 3, done.stdout + done.stderr
    assert "1 missing" in done.stdout


def test_two_files_of_one_name_do_not_share_a_folder(tmp_path: Path) -> None:
    files = [tmp_path / place / "mine.yaml" for place in ("one", "other")]
    for file in files:
        file.parent.mkdir()
        file.touch()
    folder = tmp_path / "sweeps" / name_of(str(files[0]))
    check_folder(folder, files[0])
    Plan("mine", (), str(files[0])).write(folder)
    check_folder(folder, files[0])
    with pytest.raises(UserError, match="rename"):
        check_folder(folder, files[1])
    # what was moved is no other
    files[0].unlink()
    check_folder(folder, files[1])
