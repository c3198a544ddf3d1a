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
    from benchmark.experiment.request import Request


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
        from benchmark.experiment.request import checked_request

        bench(checked_request(arguments, arguments.overrides), force=arguments.force)


def bench(request: Request, force: bool = False) -> Path:
    """Run one cell unless it is finished; returns its run directory."""
    from benchmark.experiment.lightning_cli import build
    from benchmark.experiment.train import _mention_other_code, _run_cell, set_aside
    from benchmark.leaderboard.write import show
    from benchmark.records.record import MANIFEST

    cli = build(request)
    record = cli.run_dir / "record"
    if force and cli.run_dir.exists():
        set_aside(cli.run_dir)
    if (record / MANIFEST).exists():
        print(f"This cell is finished: {cli.run_dir} (FORCE=1 runs it again).")
        _mention_other_code(record)
    else:
        _run_cell(cli, record)
    if cli.trainer.is_global_zero:
        show(request.runs, request.data)
        print(f"\nRun: {cli.run_dir}\nRecord: {record}\nCheckpoints: {cli.run_dir / 'checkpoints'}")
    return cli.run_dir
