"""`imss compare`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_record_arguments, comma_separated


class Compare(Command):
    """Estimate intervals of the differences between methods, over test scenes."""

    example = "imss compare --data miniature --methods sgma,magic"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_record_arguments(parser, "results/intervals")
        text = "comma separated, variants or groups of records (default: all)"
        parser.add_argument("--methods", type=comma_separated, default=[], help=text)
        text = "draws of the test scenes (default %(default)s)"
        parser.add_argument("--samples", type=int, default=2000, help=text)
        text = "of the interval, per cent (default %(default)s)"
        parser.add_argument("--level", type=float, default=95.0, help=text)
        text = "of the resampling (default %(default)s)"
        parser.add_argument("--seed", type=int, default=0, help=text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.analysis.comparison import (
            BootstrapOptions,
            print_comparison,
            write_comparison,
        )
        from benchmark.records.selection import select_records

        options = BootstrapOptions(arguments.samples, arguments.level, arguments.seed)
        for data, selection in select_records(arguments.runs, [arguments.data]).items():
            wanted = arguments.methods
            paths, frames = write_comparison(arguments.out, data, selection, wanted, options)
            for title, frame in frames.items():
                print_comparison(title, frame)
            if paths:
                print("Intervals: " + ", ".join(str(path) for path in paths))
