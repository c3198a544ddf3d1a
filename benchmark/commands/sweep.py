"""Grids of experiments: plan, run, look, stop."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands import options
from benchmark.commands.options import Command, add_flag, add_option
from usererror import UserError

if TYPE_CHECKING:
    from benchmark.sweep.plan import Plan
    from benchmark.sweep.run_sweep import SweepRun

EVERY_S = 30  # between two looks
ON = "local, local:2 for two at a time, or slurm (default: local, one per GPU)"


class SweepCommand(Command):
    """What the commands of a sweep share: its file, and where its runs are."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("sweep", help="YAML file, or the name of one in configs/sweep")
        options.add_runs(parser)
        options.add_store(parser)

    @staticmethod
    def folder(arguments: argparse.Namespace) -> Path:
        """Return the folder of the sweep's plan and jobs."""
        from benchmark.sweep.plan import PLAN, check_folder, name_of, sweep_folder
        from benchmark.sweep.sweep_file import find_sweep

        # a plan that is there needs no file any more, and some never had one
        folder = sweep_folder(arguments.runs, name_of(arguments.sweep))
        if not (folder / PLAN).exists():
            find_sweep(arguments.sweep)
        if (file := Path(arguments.sweep).expanduser()).is_file():
            check_folder(folder, file)
        return folder

    @staticmethod
    def plan(arguments: argparse.Namespace) -> SweepRun:
        """Read the file, compute the identities, write the plan."""
        from benchmark.experiment.request import Request
        from benchmark.sweep.run_sweep import plan_sweep
        from benchmark.sweep.sweep_file import find_sweep, read_sweep

        path = find_sweep(arguments.sweep)
        places = Request("", "miniature", runs=arguments.runs, store=arguments.store)
        return plan_sweep(path, read_sweep(path), places, getattr(arguments, "failed", False))

    def read_plan(self, arguments: argparse.Namespace) -> Plan:
        """Read the plan that was made, and say so if the file has changed since."""
        from benchmark.sweep.plan import PLAN, Plan, digest_of

        plan = Plan.read(self.folder(arguments) / PLAN)
        path = Path(plan.file)
        if plan.file and path.exists() and digest_of(path) != plan.digest:
            print(f"{path} was edited after the plan was made; make sweep-plan reads it again.")
        return plan


class SweepPlan(SweepCommand):
    """List the experiments of a sweep: done, missing, not valid; and how long they take."""

    example = "imss sweep plan miniature"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        add_flag(parser, "--json", "print the plan as JSON, for other engines")
        text = "train 20 steps of every row whose time no record tells, to estimate it"
        add_flag(parser, "--probe", text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.sweep.plan import PLAN
        from benchmark.sweep.status import find_states

        # what is told on the way, such as that a miniature is generated, is no JSON
        with redirect_stdout(sys.stderr if arguments.json else sys.stdout):
            run = self.plan(arguments)
        if arguments.json:
            print((run.folder / PLAN).read_text(encoding="utf-8"), end="")
            return
        states = find_states(run.plan, run.folder)
        if arguments.probe:
            from benchmark.sweep.probe import probe_missing

            probe_missing(states, run.folder)
        run.show(states)
        print(f"Plan: {run.folder / PLAN}")


class Sweep(SweepCommand):
    """Run the experiments of a sweep that are not done, here or on a cluster."""

    example = "imss sweep run miniature --on local:2"
    aliases = ("sweep-run",)
    resumes = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        add_option(parser, "--on", "local", ON)
        add_flag(parser, "--failed", "also run again what has failed")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.sweep.local_engine import read_place
        from benchmark.sweep.run_sweep import run_on

        read_place(arguments.on)
        run = self.plan(arguments)
        status = run_on(arguments.on, run)
        # what trials have chosen is known when they are done
        if run.plan.undecided:
            again = self.plan(arguments)
            if len(again.plan.cells) > len(run.plan.cells):
                status = run_on(arguments.on, again)
        if status:
            raise SystemExit(status)


class SweepStatus(SweepCommand):
    """Show where the experiments of a sweep stand."""

    example = "imss sweep status miniature --watch"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        add_flag(parser, "--watch", "look again every half minute until nothing runs")
        add_flag(parser, "--write", "also write the tables of what is done")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.sweep.status import exit_status, find_states, goes_on, status_lines

        while True:
            # what trials choose joins the plan
            plan, folder = self.read_plan(arguments), self.folder(arguments)
            states = find_states(plan, folder)
            print("\n".join(status_lines(plan, states, folder)), flush=True)
            status = exit_status(states, plan)
            if not arguments.watch or not goes_on(states, folder):
                break
            time.sleep(EVERY_S)
        if arguments.write:
            from benchmark.sweep.run_sweep import write_results

            write_results(arguments.runs, states, plan.tables)
        if status:
            raise SystemExit(status)


class SweepCancel(SweepCommand):
    """Stop the experiments of a sweep; each saves where it is."""

    example = "imss sweep cancel miniature"

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.sweep.jobs import cancel_jobs, jobs_of_queue, queued_jobs
        from benchmark.sweep.run_sweep import end_driver, end_left_over
        from benchmark.sweep.status import find_states

        plan, folder = self.read_plan(arguments), self.folder(arguments)
        if end_driver(folder):
            print("The sweep on this machine ends, each of its experiments saved.", flush=True)
        elif left := end_left_over(find_states(plan, folder)):
            print(f"{left} experiments on this machine end, each saved.", flush=True)
        submitted = jobs_of_queue(folder)
        # one that does not answer has perhaps not cancelled anything
        jobs = sorted(submitted & queued_jobs()) if submitted else []
        cancel_jobs(jobs)
        print(f"Cancelled {len(jobs)} jobs of the queue.")


class SweepLogs(SweepCommand):
    """Print what an experiment of a sweep printed."""

    example = "imss sweep logs miniature --cell 3"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        add_option(parser, "--cell", "", "its number in the plan, or a part of its name")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.sweep.jobs import jobs_by_cell, log_file

        plan, folder = self.read_plan(arguments), self.folder(arguments)
        jobs = jobs_by_cell(folder)
        shown = 0
        for number, cell in enumerate(plan.cells):
            wanted = arguments.cell == str(number)
            if not (wanted or arguments.cell in cell.label and not arguments.cell.isdigit()):
                continue
            for job in jobs.get(cell.identity, [])[-1:]:
                out = log_file(folder, job)
                for path in filter(Path.exists, (out, out.with_suffix(".err"))):
                    shown += 1
                    print(f"==> {number}: {cell.label}  {path}")
                    print(path.read_text(encoding="utf-8", errors="replace"))
        if not shown:
            raise UserError(f"No experiment of {plan.sweep} like {arguments.cell!r} has a log yet.")


class SweepCell(Command):
    """Run one experiment of a plan, as the jobs of other engines do."""

    example = "imss sweep cell results/runs/sweeps/miniature/plan.json 3"
    resumes = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("plan", type=options.user_path, help="plan.json of a sweep")
        parser.add_argument("index", type=int, help="number of the experiment, from 0")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.sweep.plan import Plan
        from benchmark.sweep.run_cell import RunCell

        plan, index = Plan.read(arguments.plan), arguments.index
        if not 0 <= index < len(plan.cells):
            raise UserError(f"INDEX is {index}: give 0 to {len(plan.cells) - 1}.")
        cell = plan.cells[index]
        if cell.problem:
            raise UserError(cell.problem)
        if status := RunCell.of(cell, plan.environment)():
            raise SystemExit(status)


class Reproduce(Command):
    """Run what a table of a paper lacks, under its protocol, and write the table."""

    example = "imss reproduce --table sgma_I --seeds 0,1,2 --dry"
    resumes = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_option(parser, "--table", "", "as results/tables calls it, sgma_I", required=True)
        add_option(parser, "--seeds", ["0", "1", "2"], "comma separated (default: 0,1,2)")
        add_flag(parser, "--dry", "only say what is done and what is missing, with hours")
        add_option(parser, "--on", "local", ON)
        add_flag(parser, "--failed", "also run again what has failed")
        options.add_runs(parser)
        options.add_store(parser)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.experiment.request import Request
        from benchmark.sweep.local_engine import read_place
        from benchmark.sweep.run_sweep import plan_sweep, run_on
        from benchmark.sweep.status import exit_status, find_states
        from benchmark.sweep.sweep_file import read_sweep, sweep_of_table

        read_place(arguments.on)
        path = sweep_of_table(arguments.table)
        whole = read_sweep(path)
        seeds = options.read_seeds(arguments.seeds)
        grid = whole.grid.model_copy(update={"seed": seeds})
        sweep = whole.model_copy(update={"grid": grid})
        places = Request("", "", runs=arguments.runs, store=arguments.store)
        # other seeds are another sweep, which leaves the plan of the file's as it is
        part = "" if seeds == whole.grid.seed else f"-seed{'-'.join(map(str, seeds))}"
        run = plan_sweep(path, sweep, places, arguments.failed, part)
        if arguments.dry:
            states = find_states(run.plan, run.folder)
            run.show(states)
            raise SystemExit(exit_status(states, run.plan))
        if status := run_on(arguments.on, run):
            raise SystemExit(status)
