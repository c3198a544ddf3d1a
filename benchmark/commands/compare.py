"""`imss compare`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_record_arguments, comma_separated
from usererror import UserError


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
            compare,
            named_rows,
            print_summary,
            write_intervals,
        )
        from benchmark.records.groups import comparable_groups, seed_groups
        from benchmark.records.selection import select_records

        samples, level, wanted = arguments.samples, arguments.level, arguments.methods
        if samples < 100:
            raise UserError(f"--samples {samples} is too few for an interval; use at least 100.")
        if not 0 < level < 100:
            raise UserError(f"--level {level:g} is no percentage of an interval; use 95, say.")
        for data, choice in select_records(arguments.runs, [arguments.data]).items():
            rows, skipped = seed_groups(choice.records), choice.skipped
            if wanted:
                rows = named_rows(rows, wanted)
            tables = []
            for title, members in comparable_groups(rows).items():
                lines = compare(members, samples, level, arguments.seed, skipped)
                if lines.empty:
                    reason = "fewer than two methods have counts per scene"
                    print(f"Nothing to compare under {data}, {title}: {reason}.")
                    continue
                tables.append(lines.assign(protocol=title))
                print_summary(f"{data}, {title}", lines)
            if tables:
                # a comparison of some methods leaves the file of all methods as it is
                stem = ".".join([data, *wanted])
                paths = write_intervals(arguments.out, stem, data, tables, skipped)
                print("Intervals: " + ", ".join(str(path) for path in paths))
            elif wanted:
                raise UserError(
                    f"{' and '.join(wanted)} cannot be compared: "
                    "counts per scene are needed of two; run again."
                )
