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
        from benchmark.analysis.sensor_value import write_sensor_values
        from benchmark.formats.terminal import print_table
        from benchmark.records.selection import select_records

        for data, selection in select_records(arguments.runs, [arguments.data]).items():
            written = write_sensor_values(arguments.out, data, selection, arguments.empty)
            paths, tables = written
            for title, table in tables.items():
                print_table(title, table)
            if paths:
                print("Worth: " + ", ".join(str(path) for path in paths))
