"""`imss leaderboard`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_record_arguments


class Leaderboard(Command):
    """Rebuild the leaderboards from run records."""

    example = "imss leaderboard --data miniature"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_record_arguments(parser, "results/leaderboards")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.leaderboard.write import publish_leaderboard
        from benchmark.records.selection import select_records

        for data, choice in select_records(arguments.runs, [arguments.data]).items():
            publish_leaderboard(data, choice, arguments.out)
