"""The `imss bench` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.records.record import MANIFEST

if TYPE_CHECKING:
    from benchmark.experiment.request import Request
from benchmark.experiment.request import checked_request
from benchmark.experiment.train import _mention_other_code, _run_cell, set_aside


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Check names and data, then run one cell and print its leaderboard."""
    request = checked_request(arguments, overrides)
    bench(request, force=arguments.force)


def bench(request: Request, force: bool = False) -> Path:
    """Run one cell unless it is finished; returns its run directory."""
    from benchmark.experiment.lightning_cli import build

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
        from benchmark.leaderboard.write import show

        show(request.runs, request.data)
        print(f"\nRun: {cli.run_dir}\nRecord: {record}\nCheckpoints: {cli.run_dir / 'checkpoints'}")
    return cli.run_dir
