"""`imss report`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_record_arguments, user_path


class Report(Command):
    """Write one page that shows all run records."""

    example = "imss report --data miniature --out results/report"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_record_arguments(parser, "results/report")
        text = "what methods cost, <data>.csv (default %(default)s)"
        parser.add_argument("--complexity", type=user_path, default="results/complexity", help=text)
        text = "draws of the intervals, 0: none (default %(default)s)"
        parser.add_argument("--samples", type=int, default=2000, help=text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.report.page import write_page
        from benchmark.report.payload import build_payload, count_runs

        payload = build_payload(
            arguments.runs, arguments.data, arguments.samples, arguments.complexity
        )
        path, runs = write_page(arguments.out, payload), count_runs(payload)
        if not runs:
            print("There is no run record to show yet; make one with: make bench")
        size = f"{path.stat().st_size / 1e6:.1f} MB, {len(payload['datasets'])} datasets"
        print(f"Report: {path} ({size}, {runs} runs); open it in a browser")
