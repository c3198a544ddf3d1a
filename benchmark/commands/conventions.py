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
        from benchmark.analysis.metric_conventions import lens_table, shown, write_lenses
        from benchmark.formats.terminal import print_display
        from benchmark.records.groups import comparable_groups, seed_groups
        from benchmark.records.selection import select_records

        for data, choice in select_records(arguments.runs, [arguments.data]).items():
            groups = comparable_groups(seed_groups(choice.records))
            tables = {title: lens_table(rows) for title, rows in groups.items()}
            paths = write_lenses(arguments.out, data, tables, choice.skipped)
            for title, table in tables.items():
                heading = f"{data}, {title}: Average under each convention"
                print_display(heading, shown(table, "Average"))
            print("Lenses: " + ", ".join(str(path) for path in paths))
