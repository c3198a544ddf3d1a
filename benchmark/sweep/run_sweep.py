"""From what a user names to a plan; runs what it lacks, and writes what is made of records once."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from filelock import SoftFileLease, Timeout

from benchmark.choices import PUBLISHED_COSTS, beside_runs
from benchmark.experiment.request import Request
from benchmark.formats.files import make_writable
from benchmark.records.attempts import FAILED, RUNNING
from benchmark.sweep.cell_states import DONE, INVALID, QUEUED, CellState
from benchmark.sweep.jobs import queued_jobs
from benchmark.sweep.local_engine import LocalEngine, is_here, read_place, visible_gpus
from benchmark.sweep.plan import (
    Cell,
    Plan,
    check_folder,
    digest_of,
    name_of,
    plan_cells,
    sweep_folder,
)
from benchmark.sweep.slurm_engine import submit_arrays, submit_follow_up
from benchmark.sweep.status import DRIVER, UNFINISHED, exit_status, find_states, status_lines
from benchmark.sweep.sweep_file import Resources, SweepFile, Wanted, wanted_cells
from benchmark.sweep.tuning import trial_cells, tuned_cells
from datamodules.processes import LEASE_S, hold, this_machine, usable_cores
from usererror import Busy, UserError

SAMPLES = 2000  # draws of the report's intervals


@dataclass(frozen=True)
class SweepRun:
    """A plan, and where its jobs are noted and its runs lie."""

    plan: Plan
    folder: Path
    runs: Path
    failed: bool = False  # also what has failed before

    def on_this_machine(self, slots: int) -> int:
        """Run what is missing, `slots` at a time (0: one per GPU); return the exit status."""
        states = find_states(self.plan, self.folder)
        self.show(states)
        wanted = self.select(states, DONE, INVALID)
        gpus = visible_gpus() if wanted else []
        for cell in wanted:
            if 0 < len(gpus) < cell.resources.gpus:
                needs = f"{cell.label} needs {cell.resources.gpus} GPUs, and here are {len(gpus)}"
                raise UserError(f"{needs}: ask for fewer in the sweep's resources.")

        def busy() -> None:
            raise Busy(f"Another process runs {self.plan.sweep}: look with make sweep-status.")

        check_engine()
        with hold(self.folder / DRIVER, busy):
            if wanted:
                number = slots or max(1, len(gpus))
                warn_of_crowd(wanted, number)
                options = (self.plan.retries, self.plan.environment, gpus)
                LocalEngine(self.folder, number, *options).run(wanted)
            return self.finish()

    def on_slurm(self) -> int:
        """Submit what is neither done nor in the queue; return the exit status."""
        # what waits would be submitted again if the queue were too busy to tell of it
        queued_jobs()
        states = find_states(self.plan, self.folder)
        self.show(states)
        wanted = self.select(states, DONE, INVALID, QUEUED, RUNNING)
        check_engine()
        if not wanted:
            # others run what is left
            waits = any(entry.state in (QUEUED, RUNNING) for entry in states)
            return UNFINISHED if waits else self.finish()
        name, options = self.plan.sweep, (self.plan.environment, self.plan.retries)
        jobs = submit_arrays(name, wanted, self.folder, *options)
        words = ["sweep-status", name, "--runs", str(self.runs), "--write"]
        submit_follow_up(name, words, jobs, self.folder, wanted[0].resources)
        print(f"Submitted {len(jobs)} jobs; look with: make sweep-status SWEEP={name}")
        return 0

    def select(self, states: Sequence[CellState], *skipped: str) -> list[Cell]:
        """Return the cells that are to run: all but those in states to be skipped."""
        if not self.failed and any(entry.state == FAILED for entry in states):
            print("What has failed is not run again by itself: FAILED=1 does it.", flush=True)
            skipped = (*skipped, FAILED)
        return [entry.cell for entry in states if entry.state not in skipped]

    def show(self, states: Sequence[CellState]) -> None:
        """Print where the sweep stands."""
        for line in status_lines(self.plan, states, self.folder):
            print(line, flush=True)

    def finish(self) -> int:
        """Write leaderboards, the papers' tables and the report; return how the sweep stands."""
        states = find_states(self.plan, self.folder)
        write_results(self.runs, states, self.plan.tables)
        self.show(states)
        return exit_status(states, self.plan)


def plan_sweep(
    path: Path, sweep: SweepFile, places: Request, failed: bool = False, part: str = ""
) -> SweepRun:
    """Compute and keep the plan of a sweep; `places` says where runs and stores are.

    `part` names what is another sweep than that of the whole file.
    """
    make_writable(places.runs, "--runs")
    name = name_of(str(path)) + part
    folder = sweep_folder(places.runs, name)
    check_folder(folder, path)
    wanted, undecided = wanted_cells(sweep, places), 0
    if not wanted:
        raise UserError(f"{path} names no experiment: its grid needs a method.")
    if sweep.tune:
        trials = trial_cells(sweep, sweep.tune, places)
        chosen = tuned_cells(sweep, sweep.tune, places, plan_cells(trials))
        undecided = len(wanted) - len(chosen)
        # what is chosen comes last: the numbers of the others stay as they are
        wanted = trials + chosen
    plan = Plan(
        name,
        plan_cells(wanted),
        file=str(path.absolute()),
        digest=digest_of(path),
        tables=tuple(sweep.tables),
        env=sweep.env,
        retries=sweep.retries,
        undecided=undecided,
    )
    plan.write(folder)
    return SweepRun(plan, folder, places.runs, failed)


def run_seeds(request: Request, seeds: Sequence[int]) -> int:
    """Run one experiment for several seeds here, a sweep without a file; return how it stands."""
    if any(word.startswith("--seed_everything") for word in request.overrides):
        raise UserError("--seed_everything is for one SEED: it would be that of all.")
    make_writable(request.runs, "--runs")
    cells = plan_cells([Wanted(replace(request, seed=seed), Resources()) for seed in seeds])
    # other settings of the method are another sweep
    words = [request.variant, request.dataset, cells[0].group[:8]]
    plan = Plan("-".join(filter(None, words)), cells)
    folder = sweep_folder(request.runs, plan.sweep)
    plan.write(folder)
    return run_on("local", SweepRun(plan, folder, request.runs, failed=True))


def run_on(place: str, run: SweepRun) -> int:
    """Run a sweep where the user wants it; return how it stands."""
    name, slots = read_place(place)
    check_place(run.plan, name == "slurm")
    return run.on_slurm() if name == "slurm" else run.on_this_machine(slots)


def write_results(runs: Path, states: Sequence[CellState], tables: Sequence[str]) -> None:
    """Write what is made of records: leaderboards of datasets, tables of papers, the report."""
    from benchmark.leaderboard.write import update_leaderboard
    from benchmark.papers.render import write_paper_tables
    from benchmark.papers.tables import paper_tables_of_runs
    from benchmark.report.page import write_page
    from benchmark.report.payload import build_payload

    datasets = {entry.cell.request.dataset for entry in states if entry.record}
    for data in sorted(datasets):
        update_leaderboard(runs, data)
    if tables and datasets:
        out = beside_runs(runs, "tables")
        write_paper_tables(out, paper_tables_of_runs(runs))
        print("Tables: " + ", ".join(str(out / f"{name}.md") for name in tables))
    if datasets:
        only = next(iter(datasets)) if len(datasets) == 1 else ""
        costs = (beside_runs(runs, "complexity"), PUBLISHED_COSTS)
        path = write_page(beside_runs(runs, "report"), build_payload(runs, only, SAMPLES, *costs))
        print(f"Report: {path}")


def check_engine() -> None:
    """Raise a UserError where what starts jobs is not installed."""
    if not find_spec("submitit"):
        install = "pip install 'imss-bench[cluster]', or make install in the repository"
        raise UserError(f"Sweeps need submitit: {install}.")


def warn_of_crowd(cells: Sequence[Cell], number: int) -> None:
    """Say that experiments will fight for processors, which makes each many times slower."""
    threads = max(cell.resources.cpus or 1 for cell in cells)
    here = usable_cores()
    if number > 1 and threads * number > here:
        crowd = f"{number} experiments of {threads} thread(s) at a time, and {here} processors here"
        print(f"They will slow each other: {crowd}. ON=local:{max(1, here // threads)} fits.")


def check_place(plan: Plan, slurm: bool) -> None:
    """Raise a UserError for what the chosen place cannot run."""
    if slurm:
        return
    for cell in plan.valid:
        if cell.resources.nodes > 1:
            problem = f"{cell.label} needs {cell.resources.nodes} machines"
            raise UserError(f"{problem}: run the sweep with ON=slurm.")


def end_driver(folder: Path) -> bool:
    """Ask the process that runs a sweep on this machine to end; False if there is none."""
    lock = SoftFileLease(folder / DRIVER, lease_duration=LEASE_S)
    if not (owner := lock.owner):
        return False
    if owner.hostname != this_machine():
        # the same number is another process here
        raise UserError(f"The sweep runs on {owner.hostname.partition('?')[0]}: cancel it there.")
    try:
        with lock.acquire(timeout=0):
            return False  # a killed one left it behind
    except Timeout:
        return end_process(owner.pid)


def end_left_over(states: Sequence[CellState]) -> int:
    """Ask experiments to end that a killed sweep has left running on this machine; count them."""
    ended = 0
    for entry in states:
        attempt = entry.attempt
        if entry.state == RUNNING and attempt and not attempt.job:
            ended += is_here(attempt) and end_process(attempt.pid)
    return ended


def end_process(pid: int) -> bool:
    """Ask a process to end; False if it is gone or somebody else's."""
    try:
        os.kill(pid, signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        return False
    return True
