"""`imss bench`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import choices
from benchmark.commands.options import (
    Command,
    add_method_arguments,
    add_runs_argument,
    add_store_argument,
)

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI
    from benchmark.experiment.request import Request
    from benchmark.experiment.train import Outcome
    from methods.base import AnyModalitySegmenter


class Bench(Command):
    """Train a method, score every modality subset, write the leaderboard."""

    example = "imss bench --method magic --data miniature --trainer.max_epochs 2"
    passes_on = resumes = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_method_arguments(parser)
        text = "seed of everything (default %(default)s)"
        parser.add_argument("--seed", type=int, default=0, help=text)
        text = "besides CSV (default %(default)s)"
        parser.add_argument("--logger", default="csv", choices=choices.LOGGERS, help=text)
        add_runs_argument(parser)
        add_store_argument(parser)
        text = "run a finished cell again; the old record is set aside"
        parser.add_argument("--force", action="store_true", help=text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.experiment.request import Request

        names = ("method", "data", "protocol", "seed", "backbone", "runs", "store", "logger")
        values = {name: getattr(arguments, name) for name in names}
        request = Request(**values, overrides=tuple(arguments.overrides)).checked()
        bench_request(request, force=arguments.force)


def bench_request(request: Request, force: bool = False) -> Path:
    """Train, score, record, log, draw and rank one experiment unless it is finished.

    Returns:
        Its run directory.
    """
    from benchmark.experiment.lightning_cli import build_cli
    from benchmark.experiment.train import archive_run, mention_other_code, train_and_score
    from benchmark.leaderboard.write import update_leaderboard
    from benchmark.records.manifest import MANIFEST

    cli = build_cli(request)
    record = cli.run_dir / "record"
    if force and cli.run_dir.exists():
        archive_run(cli.run_dir)
    if (record / MANIFEST).exists():
        print(f"This cell is finished: {cli.run_dir} (FORCE=1 runs it again).")
        mention_other_code(record)
    else:
        outcome = train_and_score(cli)
        if cli.trainer.is_global_zero:
            keep_outcome(cli, outcome, record)
    if cli.trainer.is_global_zero:
        update_leaderboard(request.runs, request.dataset)
        print(f"\nRun: {cli.run_dir}\nRecord: {record}\nCheckpoints: {cli.run_dir / 'checkpoints'}")
    return cli.run_dir


def keep_outcome(cli: BenchCLI, outcome: Outcome, record: Path) -> None:
    """Write the record, log to W&B if wanted, store example pictures."""
    from benchmark.evaluation.inference import evenly_spaced, select_test_scenes
    from benchmark.evaluation.protocol import convention_of
    from benchmark.experiment.manifest import run_manifest
    from benchmark.records.record import write_record
    from benchmark.tracking.example_images import store_examples
    from benchmark.tracking.wandb_summary import log_result

    # the record comes first: whatever fails later, the numbers are kept
    write_record(record, run_manifest(cli, outcome), outcome.result)
    model, data, result = cli.model, cli.datamodule, outcome.result
    if cli.request.logger == "wandb":
        convention = convention_of(data, cli.config_init.evaluation.absent)
        scores = result.scores(convention)
        more = measure_cost(model, data.window) | outcome.durations
        step = cli.trainer.global_step
        log_result(cli.trainer.loggers, step, scores, convention, result.labels, more)
    store_examples(model, data, cli.run_dir, evenly_spaced(select_test_scenes(data)))


def measure_cost(model: AnyModalitySegmenter, window: int) -> dict[str, float]:
    """Count trainable parameters in 1e6, and GMAC of the full set on one window."""
    import copy

    import torch

    from benchmark.profiling.complexity import TOTAL, count_parameters, evaluation_gmac

    # on the meta device nothing is computed, only counted
    network = copy.deepcopy(model.network).to("meta").eval()
    images = {}
    for name, channels in model.modalities.items():
        images[name] = torch.zeros(1, channels, window, window, device="meta")
    return {
        "parameters_m": count_parameters(model)[TOTAL] / 1e6,
        "gmac": evaluation_gmac(lambda: network(images)),
    }
