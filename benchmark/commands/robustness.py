"""Score a run while its sensors are damaged."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.choices import scenarios
from benchmark.commands import options
from benchmark.commands.inspect_run import RUN
from benchmark.commands.options import Command, add_flag, add_option, add_path

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI
    from datamodules.damage.scenario import Scenario


class Robustness(Command):
    """Score a run while its sensors are damaged, in every severity of every scenario."""

    example = f"imss robustness --run {RUN} --scenario rmm,holes"
    passes_on = resumes = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_trained_run(parser)
        text = f"comma separated scenarios or groups of them, or all: {', '.join(scenarios())}"
        add_option(parser, "--scenario", ["all"], f"{text} (default: all that fit the sensors)")
        add_option(parser, "--seed", 0, "of the damage, the same for all methods and runs")
        add_flag(parser, "--force", "score again what has been scored")
        add_path(parser, "--store", "directory of scene stores (default: the run's)")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.evaluation.scenario_files import read_scenarios
        from benchmark.formats.files import make_writable
        from benchmark.rescoring.rebuild import rebuild_experiment

        # a name that there is not is said before anything is built
        wanted = read_scenarios(arguments.scenario, arguments.seed)
        run_dir = make_writable(arguments.run, "--run").resolve()
        places = {"store": arguments.store} if arguments.store else {}
        cli = rebuild_experiment(run_dir, arguments.trust, arguments.overrides, **places)
        print_scenarios(cli, run_dir, wanted, arguments.scenario, arguments.force)
        if cli.trainer.is_global_zero:
            print("Tables of all runs: make leaderboard")


def print_scenarios(
    cli: BenchCLI,
    run_dir: Path,
    wanted: Sequence[Scenario],
    asked: Sequence[str],
    again: bool = False,
) -> None:
    """Score a run under the scenarios that it lacks, and print a line for each."""
    from benchmark.rescoring.robustness import fitting_scenarios, score_scenarios

    fitting = list(fitting_scenarios(wanted, cli, asked))
    for found in score_scenarios(cli, run_dir, fitting, again):
        clean, damaged = found.miou()
        means = dict(zip(found.damage.severities, damaged.mean(1), strict=True))
        shown = "  ".join(f"{severity} {mean:.1f}" for severity, mean in means.items())
        print(f"{found.damage.name:16} clean {clean:.1f}  {shown}", flush=True)
