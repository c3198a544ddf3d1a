"""What stands between an experiment and a queue, with small programs in the experiment's place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.choices import ROOT
from benchmark.experiment.request import Request
from benchmark.records.attempts import LastAttempt, lock_file
from benchmark.sweep import local_engine, run_sweep
from benchmark.sweep.cell_states import find_state
from benchmark.sweep.jobs import jobs_by_cell
from benchmark.sweep.local_engine import LocalEngine
from benchmark.sweep.plan import Cell
from benchmark.sweep.run_cell import RunCell
from benchmark.sweep.slurm_engine import DEAF_PYTHON, sbatch_options
from benchmark.sweep.sweep_file import Resources
from datamodules import processes
from datamodules.processes import hold
from usererror import Busy, UserError


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `benchmark` whose program is what a test writes into the returned file."""
    package = tmp_path / "benchmark"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    return package / "__main__.py"


@pytest.fixture(autouse=True)
def handlers_of_before() -> Any:
    numbers = (signal.SIGTERM, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def counting(path: Path, body: str) -> str:
    """A program that counts how often it was started."""
    return f"import os, signal, sys, time\nopen({str(path)!r}, 'a').write('x')\n{body}\n"


@pytest.mark.parametrize(
    ("body", "status", "starts", "state"),
    [
        ("", 0, 1, None),
        ("sys.exit(2)", 2, 1, "failed"),  # a mistake stays one
        ("sys.exit('a fault of the program')", 1, 3, "failed"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, 3, "failed"),  # nothing was ever saved
        ("sys.exit(143)", 143, 1, "interrupted"),
        ("sys.exit(75)", 75, 1, None),  # somebody else's
    ],
)
def test_attempts_end_truthfully_and_only_what_may_help_is_tried_again(
    body: str, status: int, starts: int, state: str | None, program: Path, tmp_path: Path
) -> None:
    program.write_text(counting(tmp_path / "starts", body))
    run = RunCell(("bench",), tmp_path / "run", retries=2)
    assert run() == status
    assert len((tmp_path / "starts").read_text()) == starts
    attempt = LastAttempt.read(tmp_path / "run")
    assert (attempt and attempt.state) == state
    if status == 1:
        assert attempt and attempt.error == "a fault of the program"


def test_what_was_saved_makes_an_interruption_no_failure(program: Path, tmp_path: Path) -> None:
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    save = f"open({str(last)!r}, 'a').write('x'); os.kill(os.getpid(), signal.SIGKILL)"
    program.write_text(counting(tmp_path / "starts", save))
    assert RunCell(("bench",), tmp_path / "run", retries=3)() == 137
    attempt = LastAttempt.read(tmp_path / "run")
    assert attempt and (attempt.state, attempt.fruitless) == ("interrupted", 0)


def test_a_signal_of_the_queue_ends_the_experiment_and_then_requeues(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as a queue does, the experiment gets the signal as well
    wait = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
    wait += "os.kill(os.getpid(), signal.SIGUSR2); open('ready', 'w').close(); time.sleep(60)"
    program.write_text(counting(tmp_path / "starts", wait))
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    requeued: list[int] = []

    def requeue(number: int, frame: Any) -> None:
        requeued.append(number)
        raise SystemExit(255)  # submitit's last act

    signal.signal(signal.SIGUSR2, requeue)

    def tell() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR2)

    thread = threading.Thread(target=tell)
    thread.start()
    with pytest.raises(SystemExit) as ended:
        RunCell(("bench",), tmp_path / "run", retries=2)()
    thread.join()
    assert ended.value.code == 255 and requeued == [signal.SIGUSR2]
    assert len((tmp_path / "starts").read_text()) == 1
    attempt = LastAttempt.read(tmp_path / "run")
    assert attempt and attempt.state == "interrupted"


def test_who_fails_before_the_run_says_nothing_of_the_one_that_is_at_work(
    program: Path, tmp_path: Path
) -> None:
    program.write_text("import sys; sys.exit(143)")
    run_dir = tmp_path / "run"
    with hold(lock_file(run_dir), lambda: None):
        LastAttempt.begin(run_dir)
        before = LastAttempt.read(run_dir)
        RunCell(("bench",), run_dir)()
        assert LastAttempt.read(run_dir) == before
    RunCell(("bench",), run_dir)()
    after = LastAttempt.read(run_dir)
    assert after and (after.state, after.number) == ("interrupted", 2)


def test_a_sweep_is_ended_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: ended.append(pid) if number else None)
    assert not run_sweep.end_driver(tmp_path)
    with hold(tmp_path / run_sweep.DRIVER, lambda: None):
        assert run_sweep.end_driver(tmp_path) and ended == [os.getpid()]
        monkeypatch.setattr(run_sweep, "this_machine", lambda: "elsewhere")
        with pytest.raises(UserError, match="cancel it there"):
            run_sweep.end_driver(tmp_path)
    assert ended == [os.getpid()]


@dataclass
class Jobs:
    """Stands for submitit: jobs that end after a few looks."""

    running: list[RunCell] = field(default_factory=list)
    shared: list[set[str]] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def submit(self, run: RunCell) -> Any:
        gpus = set(run.env["CUDA_VISIBLE_DEVICES"].split(","))
        for other in self.running:
            self.shared.append(gpus & set(other.env["CUDA_VISIBLE_DEVICES"].split(",")))
        self.running.append(run)
        return Job(self, run)


@dataclass
class Job:
    jobs: Jobs
    run: RunCell
    looks: int = 0
    job_id: int = 1

    def done(self) -> bool:
        self.looks += 1
        if self.looks == 3 + len(self.run.words) % 2:
            self.jobs.running.remove(self.run)
        return self.run not in self.jobs.running


def test_no_two_experiments_have_one_gpu_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs()

    def executor(folder: Path) -> Jobs:
        jobs.folders.append(folder)
        return jobs

    monkeypatch.setattr("submitit.LocalExecutor", executor)
    monkeypatch.setattr(Jobs, "update_parameters", lambda *given, **more: None, raising=False)
    monkeypatch.setattr(local_engine, "POLL_S", 0)
    cells = []
    for seed, gpus in enumerate((1, 2, 1, 4, 1, 1, 2, 1)):
        request = Request("control", "tiny", seed=seed, runs=tmp_path)
        name = f"seed{seed}"
        cells.append(Cell(request, Resources(gpus=gpus), name, name, name=name))
    engine = LocalEngine(tmp_path, slots=4, gpus=["0", "1", "2", "3"])
    engine.run(cells)
    assert len(jobs.shared) > 5 and not any(jobs.shared)
    assert sorted(engine.gpus) == ["0", "1", "2", "3"]
    # the number of a process names its files, and has had others before
    assert len(set(jobs.folders)) == len(cells)
    assert {job for found in jobs_by_cell(tmp_path).values() for job in found}.isdisjoint({"1"})


@pytest.mark.parametrize(("cpus", "number", "fits"), [(2, 2, 1), (1, 3, 2), (4, 1, 0), (1, 2, 0)])
def test_experiments_that_would_fight_for_processors_are_warned_of(
    cpus: int, number: int, fits: int, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr(run_sweep, "usable_cores", lambda: 2)
    cell = Cell(Request("control", "tiny"), Resources(cpus=cpus), "0123", name="seed0")
    run_sweep.warn_of_crowd([cell], number)
    said = capsys.readouterr().out
    assert (f"ON=local:{fits} fits" in said) if fits else not said


def test_what_a_killed_sweep_left_running_keeps_its_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell(Request("control", "tiny", runs=tmp_path), Resources(), "0123", name="seed0")
    engine = LocalEngine(tmp_path, slots=2, gpus=["0", "1"])
    engine.waiting, engine.running, engine.per_cell = [cell], [], 1
    with hold(lock_file(cell.run_dir), lambda: None):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        LastAttempt.begin(cell.run_dir)
        engine._leave_gpus()
        engine._take_in()
        assert engine.gpus == ["1"]
    engine._take_in()
    assert sorted(engine.gpus) == ["0", "1"]


def test_an_experiment_is_asked_to_end_once_however_early(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "asked = []\nsignal.signal(signal.SIGTERM, lambda *_: asked.append(1))\n"
    body += "open('ready', 'w').close(); time.sleep(1.5); sys.exit(100 + len(asked))"
    program.write_text(counting(tmp_path / "starts", body))

    def tell() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.05)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)

    thread = threading.Thread(target=tell)
    thread.start()
    assert RunCell(("bench",), tmp_path / "run")() == 101
    thread.join()
    # before there is a child
    start = subprocess.Popen

    def late(*given: Any, **more: Any) -> subprocess.Popen[str]:
        os.kill(os.getpid(), signal.SIGTERM)
        return start(*given, **more)

    monkeypatch.setattr(subprocess, "Popen", late)
    program.write_text("import time; time.sleep(60)")
    assert RunCell(("bench",), tmp_path / "run")() == 143


def test_a_run_is_running_for_as_long_as_somebody_holds_it(tmp_path: Path) -> None:
    request = Request("control", "tiny", runs=tmp_path)
    cell = Cell(request, Resources(), "0123", name="seed0")
    assert find_state(cell).state == "missing"
    with hold(lock_file(cell.run_dir), lambda: None):
        LastAttempt.begin(cell.run_dir)
        assert find_state(cell).state == "running"
    assert find_state(cell).state == "interrupted"
    # a process that is gone leaves its lock behind
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    with hold(lock_file(cell.run_dir), lambda: None):
        attempt = LastAttempt.read(cell.run_dir)
        assert attempt
        replace(attempt, pid=int(gone.stdout)).write(cell.run_dir)
        assert find_state(cell).state == "interrupted"
        # of another machine only the lock's age is known
        replace(attempt, host="elsewhere", pid=1).write(cell.run_dir)
        assert find_state(cell).state == "running"
        os.utime(lock_file(cell.run_dir), (0, 0))
        assert find_state(cell).state == "interrupted"


def test_the_lock_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    code = "import os, signal, sys; from pathlib import Path\n"
    code += "from datamodules.processes import hold\n"
    code += "with hold(Path(sys.argv[1]), lambda: None): os.kill(os.getpid(), signal.SIGKILL)"
    lock = tmp_path / "lock"
    subprocess.run([sys.executable, "-c", code, str(lock)], cwd=ROOT)
    assert lock.exists()
    with hold(lock, lambda: pytest.fail("the lock of a dead process is free")):
        pass


def test_a_sign_of_a_holder_on_another_machine_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock"
    record = "host=elsewhere"
    monkeypatch.setattr(processes, "LEASE_S", 3.0)
    with hold(lock, lambda: None):
        mine = lock.read_text()
    assert f"host={processes.this_machine()}" in mine
    theirs = mine.replace(f"host={processes.this_machine()}", record)
    lock.write_text(theirs)
    # it has just been touched, but never is again: its machine is gone
    with hold(lock, lambda: pytest.fail("a lock that nobody touches is free")):
        assert record not in lock.read_text()
    lock.write_text(theirs)

    def touch() -> None:
        time.sleep(1)
        lock.touch()

    thread = threading.Thread(target=touch)
    thread.start()
    with pytest.raises(Busy), hold(lock, raise_busy):
        pass
    thread.join()


def raise_busy() -> None:
    raise Busy


def test_a_job_does_not_hear_that_it_is_preempted_before_it_can_save() -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGTERM); print('still there')"
    words = f'{DEAF_PYTHON} -c "{program}"'
    done = subprocess.run(words, shell=True, capture_output=True, text=True)
    assert done.stdout == "still there\n", done.stderr


def test_resources_are_options_of_sbatch() -> None:
    resources = Resources(minutes=30, gpus=2, cpus=4, memory="8G", slurm={"account": "lab"})
    options = sbatch_options("paper", resources)
    assert (options["time"], options["gpus_per_node"], options["cpus_per_task"]) == (30, 2, 4)
    assert options["additional_parameters"] == {"requeue": True, "account": "lab", "mem": "8G"}
    from submitit.slurm.slurm import _make_sbatch_string

    text = _make_sbatch_string(command="x", folder=".", map_count=3, **options)
    for line in ("--signal=USR2@90", "--requeue", "--array=0-2%3", "--mem=8G", "--account=lab"):
        assert f"#SBATCH {line}" in text
    assert json.loads(Resources().model_dump_json(exclude_defaults=True)) == {}
