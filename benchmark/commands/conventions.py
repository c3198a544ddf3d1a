"""`imss conventions`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_record_arguments


class Conventions(Command):
    """Score the leaderboard under each named convention; mark where the ranking changes."""

    example = "imss conventions --data miniature"
    aliases = ("lens",)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_record_arguments(parser, "results/lens")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.analysis.metric_conventions import write_conventions
        from benchmark.formats.terminal import print_table
        from benchmark.records.selection import select_records

        for data, selection in select_records(arguments.runs, [arguments.data]).items():
            paths, tables = write_conventions(arguments.out, data, selection)
            for title, table in tables.items():
                print_table(title, table)
            print("Lenses: " + ", ".join(str(path) for path in paths))
