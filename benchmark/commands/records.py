"""Tables and pages that read run records, without torch."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_option, add_path, add_record_arguments, add_run


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


class SensorValue(Command):
    """Compute each sensor's Shapley value, and the expected score when sensors fail."""

    example = "imss sensor-value --data miniature --empty majority"
    aliases = ("worth",)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_record_arguments(parser, "results/sensor_value")
        text = "score without any sensor: 0, or the most frequent class"
        add_option(parser, "--empty", "zero", text, choices=("zero", "majority"))

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
                print("Sensor values: " + ", ".join(str(path) for path in paths))


class Compare(Command):
    """Estimate intervals of the differences between methods, over test scenes."""

    example = "imss compare --data miniature --methods sgma,magic"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_record_arguments(parser, "results/intervals")
        add_option(parser, "--methods", [], "comma separated variants or groups (default: all)")
        add_option(parser, "--samples", 2000, "draws of the test scenes")
        add_option(parser, "--level", 95.0, "of the interval, per cent")
        add_option(parser, "--seed", 0, "of the resampling")

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


class Conventions(Command):
    """Score the leaderboard under each named convention; mark where the ranking changes."""

    example = "imss conventions --data miniature"
    aliases = ("lens",)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_record_arguments(parser, "results/conventions")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.analysis.metric_conventions import write_conventions
        from benchmark.formats.terminal import print_table
        from benchmark.records.selection import select_records

        for data, selection in select_records(arguments.runs, [arguments.data]).items():
            paths, tables = write_conventions(arguments.out, data, selection)
            for title, table in tables.items():
                print_table(title, table)
            print("Conventions: " + ", ".join(str(path) for path in paths))


class Report(Command):
    """Write one page that shows all run records."""

    example = "imss report --data miniature --out results/report"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_record_arguments(parser, "results/report")
        add_path(parser, "--complexity", "what methods cost, <data>.csv", "results/complexity")
        add_option(parser, "--samples", 2000, "draws of the intervals, 0: none")

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


class Publish(Command):
    """Copy a run's slim record to results/records, where committed tables read it."""

    example = "imss publish --run results/runs/miniature/sgma/pvt_v2_b0-seed0-0123abcd"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_run(parser)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.records.record import publish_record, read_record
        from benchmark.records.selection import PUBLISHED

        source = arguments.run / "record"
        manifest = read_record(source).manifest
        name = f"{manifest.variant}-{manifest.backbone}-seed{manifest.seed}"
        target = PUBLISHED / manifest.data / f"{name}-{manifest.identity[:8]}"
        publish_record(source, target)
        print(f"Published: {target}")
