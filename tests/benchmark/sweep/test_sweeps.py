"""Sweeps on this machine and on a real Slurm of two nodes, with everything that happens to jobs.

One undisturbed sweep is what all others are compared with, count by count.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.records.record import read_record
from tests.support.sweeps import (
    SETTINGS,
    assert_equal_counts,
    attempt,
    counts_by_seed,
    imss,
    imss_here,
    is_alive,
    run_of,
    start_imss,
    stop_when_saved,
    wait_for,
    write_sweep,
)

START = Path(__file__).resolve().parents[2] / "support" / "slurm_start.sh"
STEPS = 80  # twenty epochs
CANCELLED, KILLED, REQUEUED, PREEMPTED, TIMED_OUT, UNDISTURBED, WRONG, INVALID = range(8)
MISTAKES: list[dict[str, Any]] = [
    {"is": {"seed": WRONG}, "overrides": {"data.epoch_windows": 0}},
    {"is": {"seed": INVALID}, "overrides": {"model.optimizer.lr": "fast"}},
]


@dataclass(frozen=True)
class Ended:
    """A sweep that has ended."""

    sweep: Path
    runs: Path
    done: subprocess.CompletedProcess[str]
    counts: dict[int, Any]  # by seed, before a test adds cells of the same seeds

    def again(self, *words: object) -> subprocess.CompletedProcess[str]:
        return imss_here("sweep", self.sweep, *words, "--runs", self.runs)


@pytest.fixture(scope="module")
def whole(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Six undisturbed cells, one that fails and one that does not parse, on two GPUs by name."""
    place = tmp_path_factory.mktemp("whole")
    sweep = write_sweep(place / "tiny.yaml", STEPS, list(range(8)), where=MISTAKES)
    words = ("sweep", sweep, "--store", tiny_stores, "--runs", place / "runs", "--on", "local")
    done = imss(*words, env={"CUDA_VISIBLE_DEVICES": "4,5"})
    return Ended(sweep, place / "runs", done, counts_by_seed(place / "runs"))


def test_what_fails_leaves_the_others_done(whole: Ended) -> None:
    said = whole.done.stdout + whole.done.stderr
    assert whole.done.returncode == 1, said
    assert "6 done, 1 failed, 1 invalid" in said and "Traceback" not in said
    status = imss_here("sweep", "status", whole.sweep, "--runs", whole.runs)
    assert status.returncode == 1
    lines = {line.split()[0]: line for line in status.stdout.splitlines()}
    assert "data.epoch_windows is 0" in lines["failed"] and "lr" in lines["invalid"]
    logs = imss_here("sweep", "logs", whole.sweep, "--runs", whole.runs, "--cell", WRONG)
    assert "data.epoch_windows is 0" in logs.stdout
    # written once, at the end
    assert (whole.runs.parent / "leaderboards" / "tiny.md").exists()
    assert (whole.runs.parent / "report" / "index.html").exists()


def test_a_second_sweep_runs_nothing_and_a_change_only_what_it_changes(
    whole: Ended, tiny_stores: Path, tmp_path: Path
) -> None:
    places = ("--store", tiny_stores)
    again = whole.again(*places)
    assert again.stdout.count("started") == 0 and again.returncode == 1
    assert "FAILED=1" in again.stdout
    again = whole.again(*places, "--failed")
    assert again.stdout.count("started") == 1 and again.returncode == 1
    rule = {"is": {"seed": UNDISTURBED}, "overrides": {"trainer.max_steps": 2}}
    changed = write_sweep(whole.sweep, STEPS, list(range(6)), where=[rule])
    again = whole.again(*places)
    assert again.returncode == 0, again.stdout + again.stderr
    started = [line for line in again.stdout.splitlines() if line.startswith("started")]
    assert len(started) == 1 and f"seed{UNDISTURBED}" in started[0]
    write_sweep(changed, STEPS, list(range(6)))
    assert whole.again(*places).stdout.count("started") == 0


def test_a_stopped_and_a_killed_sweep_go_on_and_end_as_if_undisturbed(
    whole: Ended, tiny_stores: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    sweep = write_sweep(tmp_path / "two.yaml", STEPS, [0, 1])
    words = ("sweep", sweep, "--store", tiny_stores, "--runs", runs, "--on", "local:2")
    for number in (signal.SIGINT, signal.SIGKILL):
        earlier = {seed: attempt(runs, seed).get("pid") for seed in (0, 1)}
        driver = start_imss(*words)
        for seed, pid in earlier.items():
            wait_for(lambda seed=seed, pid=pid: attempt(runs, seed).get("pid") != pid)
        stop_when_saved(runs, [0, 1])
        driver.send_signal(number)
        for seed in (0, 1):
            os.kill(attempt(runs, seed)["pid"], signal.SIGCONT)
        if number == signal.SIGINT:
            said, _ = driver.communicate(timeout=120)
            assert driver.returncode == 130, said
            assert "continues where it stopped" in said
            assert not any(is_alive(attempt(runs, seed)["pid"]) for seed in (0, 1))
            # of the terminal, whose Ctrl-C reaches all of its processes
            assert {attempt(runs, seed)["status"] for seed in (0, 1)} == {143}
    driver.wait()
    # what the killed one had started goes on; it is waited for and not started twice
    last = imss_here(*words)
    assert last.returncode == 0, last.stdout + last.stderr
    assert "2 running" in last.stdout and "started" not in last.stdout
    assert_equal_counts(counts_by_seed(runs), {seed: whole.counts[seed] for seed in (0, 1)})


def test_a_sweep_and_a_bench_on_one_cell_run_it_once(tiny_stores: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    sweep = write_sweep(tmp_path / "one.yaml", STEPS, [0])
    words = ("--store", tiny_stores, "--runs", runs)
    first = start_imss("sweep", sweep, *words)
    pid = wait_for(lambda: attempt(runs, 0))["pid"]
    # so that it cannot be done before the others ask
    os.kill(pid, signal.SIGSTOP)
    (cell,) = json.loads((tmp_path / "sweeps" / "one" / "plan.json").read_text())["cells"]
    settings = cell["request"]["overrides"]
    bench = imss_here("bench", "--method", "control", "--data", "tiny", *words, *settings)
    assert bench.returncode == 75 and "at work on this cell" in bench.stderr
    second = imss_here("sweep", sweep, *words)
    assert second.returncode == 75 and "Another process runs one" in second.stderr
    os.kill(pid, signal.SIGCONT)
    said, _ = first.communicate(timeout=300)
    assert first.returncode == 0, said
    assert attempt(runs, 0)["number"] == 1


def test_seeds_of_one_bench_are_a_sweep(tiny_stores: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    settings = [f"--{name}={value}" for name, value in {**SETTINGS, "trainer.max_steps": 2}.items()]
    words = ("--method", "control", "--data", "tiny", "--store", tiny_stores, "--runs", runs)
    done = imss_here("bench", *words, "--seed", "0,3", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(counts_by_seed(runs)) == {0, 3} and "2 done" in done.stdout
    # one row of two seeds
    table = (tmp_path / "leaderboards" / "tiny.md").read_text()
    assert table.count("| control") == 1
    (sweep,) = (tmp_path / "sweeps").iterdir()
    assert sweep.name.startswith("control-tiny-")
    status = imss_here("sweep", "status", sweep.name, "--runs", runs)
    assert status.returncode == 0, status.stdout + status.stderr


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a client of a cluster of two nodes with two processors each."""
    if os.geteuid() or not (shutil.which("slurmctld") or shutil.which("apt-get")):
        pytest.skip("Slurm is not here and cannot be installed")
    place = tmp_path_factory.mktemp("slurm")
    words = ["bash", str(START), "--dir", str(place)]
    started = subprocess.run(words, capture_output=True, text=True)
    if started.returncode in (3, 100):
        pytest.skip(f"Slurm cannot be installed: {started.stderr[-200:]}")
    assert started.returncode == 0, started.stderr
    yield {"SLURM_CONF": str(place / "etc" / "slurm.conf")}
    subprocess.run([*words, "--stop"], check=True)


def queue(cluster: dict[str, str], *words: str) -> str:
    """Ask the cluster."""
    done = subprocess.run(
        words, env={**os.environ, **cluster}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_whatever_a_queue_does_every_cell_ends_as_if_undisturbed(
    whole: Ended, cluster: dict[str, str], tiny_stores: Path, tmp_path: Path
) -> None:
    soon = {"is": {"seed": TIMED_OUT}, "resources": {"minutes": 4}}
    sweep = write_sweep(tmp_path / "slurm.yaml", STEPS, list(range(8)), where=[*MISTAKES, soon])
    runs = tmp_path / "runs"
    words = ("sweep", sweep, "--store", tiny_stores, "--runs", runs, "--on", "slurm")
    submitted = imss_here(*words, env=cluster)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert "Submitted 7 jobs" in submitted.stdout

    def job(seed: int) -> str:
        return wait_for(lambda: attempt(runs, seed).get("job"))

    def details(seed: int) -> str:
        return queue(cluster, "scontrol", "show", "job", job(seed))

    def let_go(seed: int) -> None:
        # a requeued job waits for two minutes otherwise; in the second that it was ended in, a node
        # would refuse it ("Job credential revoked") and Slurm give it up
        wait_for(lambda: "PENDING" in details(seed))
        queue(cluster, "scontrol", "update", f"JobId={job(seed)}", "StartTime=now+5")

    def is_empty() -> bool:
        return not queue(cluster, "squeue", "--noheader").strip()

    stop_when_saved(runs, [CANCELLED, KILLED, REQUEUED, PREEMPTED])
    queue(cluster, "scancel", job(CANCELLED))
    os.kill(attempt(runs, KILLED)["pid"], signal.SIGKILL)
    stop_when_saved(runs, [TIMED_OUT])
    # of four minutes; 90 to 150 s before they are over Slurm sends its signal, and SIGCONT first
    wait_for(lambda: "Restarts=1" in details(TIMED_OUT))
    let_go(TIMED_OUT)
    queue(cluster, "scontrol", "requeue", job(REQUEUED))
    let_go(REQUEUED)
    # whatever runs beside the one that is preempted would be, too, and wait for two minutes
    wait_for(lambda: len(counts_by_seed(runs)) == 4)
    node = queue(cluster, "squeue", "--noheader", f"--jobs={job(PREEMPTED)}", "--format=%N").strip()
    more = ("--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null")
    queue(cluster, "sbatch", *more, "--wrap=sleep 1")
    wait_for(lambda: "Restarts=1" in details(PREEMPTED))
    let_go(PREEMPTED)
    wait_for(is_empty)
    again = imss_here(*words, env=cluster)
    assert "5 done, 1 interrupted, 1 failed, 1 invalid" in again.stdout
    assert "Submitted 1 jobs" in again.stdout
    wait_for(is_empty)
    status = imss_here("sweep", "status", sweep, "--runs", runs, env=cluster)
    assert status.returncode == 1 and "6 done, 1 failed, 1 invalid" in status.stdout
    third = imss_here(*words, env=cluster)
    assert third.returncode == 1 and "Submitted" not in third.stdout
    assert_equal_counts(counts_by_seed(runs), whole.counts)
    # by a job of its own after the others
    assert (tmp_path / "leaderboards" / "tiny.md").exists()


def test_two_machines_train_one_cell_and_score_it_as_one_process_does(
    cluster: dict[str, str], tiny_stores: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    several = {"trainer.num_nodes": 2, "trainer.strategy": "ddp"}
    resources = {"nodes": 2, "minutes": 30}
    sweep = write_sweep(tmp_path / "two.yaml", 8, [0], overrides=several, resources=resources)
    words = ("sweep", sweep, "--store", tiny_stores, "--runs", runs)
    here = imss_here(*words)
    assert here.returncode == 2 and "ON=slurm" in here.stderr
    submitted = imss_here(*words, "--on", "slurm", env=cluster)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    wait_for(lambda: not queue(cluster, "squeue", "--noheader").strip())
    run = run_of(runs, 0)
    assert run
    record = read_record(run / "record")
    assert record.manifest.world_size == 2
    assert record.manifest.batch == 2 * SETTINGS["data.batch_size"]
    alone = ("--trainer.num_nodes=1", "--trainer.strategy=auto")
    places = ("--runs", runs, "--store", tiny_stores)
    checkpoint = run / record.manifest.checkpoint
    done = imss("evaluate", "--checkpoint", checkpoint, *places, *alone)
    assert done.returncode == 0, done.stdout + done.stderr
    scored = read_record(run / "evaluations" / checkpoint.stem / "record")
    assert np.array_equal(scored.counts, record.counts)


def test_a_student_starts_when_its_teacher_has_ended_and_is_not_trained_without(
    cluster: dict[str, str], tiny_stores: Path, tmp_path: Path
) -> None:
    # the second student has a teacher of its own, which the grid lacks and which fails
    mistake = {"cell.teacher_words": ["--data.epoch_windows=0"]}
    rule = {"is": {"method": "control_distilled", "seed": 1}, "overrides": mistake}
    also = [{"method": "control_distilled", "data": "tiny", "seed": seed} for seed in (0, 1)]
    sweep = write_sweep(tmp_path / "taught.yaml", 2, [0], where=[rule], also=also)
    runs = tmp_path / "runs"
    words = ("sweep", sweep, "--store", tiny_stores, "--runs", runs, "--on", "slurm")
    submitted = imss_here(*words, env=cluster)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert "Submitted 4 jobs" in submitted.stdout
    wait_for(lambda: not queue(cluster, "squeue", "--noheader").strip())

    def job_of(run: Path) -> dict[str, str]:
        job = json.loads((run / "attempt.json").read_text())["job"]
        return dict(re.findall(r"(\w+)=(\S+)", queue(cluster, "scontrol", "show", "job", job)))

    def run_in(method: str) -> Path:
        (config,) = runs.glob(f"tiny/{method}/*-seed0-*/config.json")
        return config.parent

    teacher, student = run_in("control"), run_in("control_distilled")
    assert job_of(student)["StartTime"] >= job_of(teacher)["EndTime"]
    said = imss_here("sweep", "logs", sweep, "--runs", runs, "--cell", 1).stdout
    assert "The teacher control is trained" in said
    stages = read_record(student / "record").manifest.stages
    assert stages[0].identity == read_record(teacher / "record").manifest.identity
    status = imss_here("sweep", "status", sweep, "--runs", runs, env=cluster)
    assert status.returncode == 1 and "2 done, 2 failed" in status.stdout
    lines = [line for line in status.stdout.splitlines() if line.strip().startswith("failed")]
    assert any("data.epoch_windows is 0" in line for line in lines)
    (line,) = (line for line in lines if "control_distilled" in line)
    assert "Not trained. Its teacher control ended with status 2" in line
    assert not list(runs.glob("tiny/*/*-seed1-*/checkpoints/*"))


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_of_a_cell_do_not_wait_for_one_that_fails_before_they_meet(
    rank: int, cluster: dict[str, str], tiny_stores: Path, tmp_path: Path
) -> None:
    # what Python imports by itself
    fails = f"""
import os, sys
if "benchmark" in sys.orig_argv and os.environ.get("SLURM_PROCID") == "{rank}":
    sys.stderr.write("imss: The disk of this machine is gone.\\n")
    os._exit(2)
"""
    (tmp_path / "sitecustomize.py").write_text(fails)
    several = {"trainer.num_nodes": 2, "trainer.strategy": "ddp"}
    more = {"resources": {"nodes": 2}, "env": {"PYTHONPATH": str(tmp_path)}}
    sweep = write_sweep(tmp_path / "two.yaml", 8, [0], overrides=several, **more)
    words = ("sweep", sweep, "--store", tiny_stores, "--runs", tmp_path / "runs", "--on", "slurm")
    submitted = imss_here(*words, env=cluster)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    wait_for(lambda: not queue(cluster, "squeue", "--noheader").strip(), seconds=120)
    status = imss_here("sweep", "status", sweep, "--runs", tmp_path / "runs", env=cluster)
    assert "1 failed" in status.stdout and "The disk of this machine is gone." in status.stdout
