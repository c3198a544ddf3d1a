"""`imss report`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_record_arguments, user_path
from usererror import UserError

PAGE = "index.html"


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
        from benchmark.formats.files import write_texts
        from benchmark.report.page import build_page
        from benchmark.report.payload import gather

        samples = arguments.samples
        if samples and samples < 100:
            raise UserError(
                f"--samples {samples} is too few for an interval; use at least 100, or 0 for none."
            )
        content = gather(arguments.runs, arguments.data, samples, arguments.complexity)
        path = write_texts(arguments.out, {PAGE: build_page(content)})[0]
        runs = 0
        for data in content["datasets"]:
            for board in data["boards"]:
                runs += sum(len(row["seeds"]) for row in board["rows"])
        if not runs:
            print("There is no run record to show yet; make one with: make bench")
        size = f"{path.stat().st_size / 1e6:.1f} MB, {len(content['datasets'])} datasets"
        print(f"Report: {path} ({size}, {runs} runs); open it in a browser")
