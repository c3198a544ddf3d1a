"""`imss publish`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_run_argument


class Publish(Command):
    """Copy a run's slim record to results/records, where committed tables read it."""

    example = "imss publish --run results/runs/miniature/sgma/pvt_v2_b0-seed0-0123abcd"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_run_argument(parser)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.records.record import publish_record, read_record
        from benchmark.records.selection import PUBLISHED

        source = arguments.run / "record"
        manifest = read_record(source).manifest
        name = f"{manifest.variant}-{manifest.backbone}-seed{manifest.seed}"
        target = PUBLISHED / manifest.data / f"{name}-{manifest.identity[:8]}"
        publish_record(source, target)
        print(f"Published: {target}")
