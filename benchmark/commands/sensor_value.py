"""`imss sensor-value`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_record_arguments


class SensorValue(Command):
    """Compute each sensor's Shapley value, and the expected score when sensors fail."""

    example = "imss sensor-value --data miniature --empty majority"
    aliases = ("worth",)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_record_arguments(parser, "results/worth")
        text = "score without any sensor: 0, or that of the most frequent class everywhere"
        parser.add_argument("--empty", default="zero", choices=("zero", "majority"), help=text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.analysis.sensor_value import (
            complete_rows,
            expected_table,
            shapley_table,
            write_worth,
        )
        from benchmark.formats.terminal import print_display
        from benchmark.records.groups import comparable_groups, seed_groups
        from benchmark.records.selection import select_records

        empty = arguments.empty
        for data, choice in select_records(arguments.runs, [arguments.data]).items():
            skipped = choice.skipped
            rows = complete_rows(seed_groups(choice.records), skipped)
            if not rows:
                continue
            paths = write_worth(arguments.out, data, rows, empty, skipped)
            for title, members in comparable_groups(rows).items():
                heading = f"{data}, {title}: "
                values = shapley_table(members, empty)
                print_display(heading + "Shapley values of mIoU in points", values)
                print_display(heading + "expected mIoU in per cent", expected_table(members))
            print("Worth: " + ", ".join(str(path) for path in paths))
