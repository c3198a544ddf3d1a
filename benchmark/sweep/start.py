"""From what a user names, a file or the seeds of one experiment, to a sweep that can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmark.experiment.request import Request
from benchmark.formats.files import make_writable
from benchmark.sweep.local_engine import read_place
from benchmark.sweep.plan import Plan, check_folder, digest_of, name_of, plan_cells, sweep_folder
from benchmark.sweep.run_sweep import SweepRun, check_place
from benchmark.sweep.sweep_file import Resources, SweepFile, Wanted, wanted_cells
from benchmark.sweep.tuning import trial_cells, tuned_cells
from usererror import UserError


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
