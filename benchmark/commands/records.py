"""Tables, pages and W&B workspaces of run records and of papers, without torch."""

import argparse
import os

from benchmark.choices import PUBLISHED_COSTS, WANDB_PROJECT, beside_runs
from benchmark.commands import options
from benchmark.commands.options import Command, add_flag, add_option, add_path
from usererror import UserError


class Leaderboard(Command):
    """Rebuild the leaderboards from run records."""

    example = "imss leaderboard --data miniature"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_record_arguments(parser)
        options.add_wide(parser)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.analysis.robustness import write_robustness
        from benchmark.leaderboard.write import publish_leaderboard
        from benchmark.records.selection import select_records

        out = options.output_directory(arguments, "leaderboards")
        wanted = [arguments.data]
        for data, choice in select_records(arguments.runs, wanted, contests=True).items():
            own = {
                record.manifest.group
                for record in (*choice.records, *choice.contests)
                if record.path.is_relative_to(arguments.runs)
            }
            publish_leaderboard(data, choice, out, own, arguments.wide)
            write_robustness(out, data, choice)


class SensorValue(Command):
    """Compute each sensor's Shapley value, and the expected score when sensors fail."""

    example = "imss sensor-value --data miniature --empty majority"
    aliases = ("worth",)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_record_arguments(parser)
        text = "score without any sensor: 0, or the most frequent class"
        add_option(parser, "--empty", "zero", text, choices=("zero", "majority"))

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.analysis.sensor_value import write_sensor_values
        from benchmark.formats.markdown import print_table
        from benchmark.records.selection import select_records

        out = options.output_directory(arguments, "sensor_value")
        for data, selection in select_records(arguments.runs, [arguments.data]).items():
            paths, tables = write_sensor_values(out, data, selection, arguments.empty)
            for title, table in tables.items():
                print_table(title, table)
            if paths:
                print("Sensor values: " + ", ".join(map(str, paths)))


class Compare(Command):
    """Estimate intervals of the differences between methods, over test scenes."""

    example = "imss compare --data miniature --methods sgma,magic"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_record_arguments(parser)
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

        bootstrap = BootstrapOptions(arguments.samples, arguments.level, arguments.seed)
        compared = False
        out = options.output_directory(arguments, "intervals")
        for data, selection in select_records(arguments.runs, [arguments.data]).items():
            wanted = arguments.methods
            paths, frames = write_comparison(out, data, selection, wanted, bootstrap)
            for title, frame in frames.items():
                print_comparison(title, frame)
            if paths:
                compared = True
                print("Intervals: " + ", ".join(map(str, paths)))
        if not compared:
            needed = "two methods on one dataset with counts per scene, which every new run keeps"
            raise UserError(f"There is nothing to compare: {needed}; make them with: make bench")


class Conventions(Command):
    """Score the leaderboard under each named convention; mark where the ranking changes."""

    example = "imss conventions --data miniature"
    aliases = ("lens",)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_record_arguments(parser)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.analysis.metric_conventions import write_conventions
        from benchmark.formats.markdown import print_table
        from benchmark.records.selection import select_records

        out = options.output_directory(arguments, "conventions")
        for data, selection in select_records(arguments.runs, [arguments.data]).items():
            paths, tables = write_conventions(out, data, selection)
            for title, table in tables.items():
                print_table(title, table)
            print("Conventions: " + ", ".join(map(str, paths)))


class Report(Command):
    """Write one page that shows all run records."""

    example = "imss report --data miniature --out results/report"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_record_arguments(parser, "results/report")
        text = "what methods cost, <data>.csv (default: beside the runs, then results/complexity)"
        add_path(parser, "--complexity", text)
        add_option(parser, "--samples", 2000, "draws of the intervals, 0: none")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.report.page import PAGE, write_page
        from benchmark.report.payload import build_payload, count_runs

        costs = [arguments.complexity]
        if not arguments.complexity:
            costs = [beside_runs(arguments.runs, "complexity"), PUBLISHED_COSTS]
        payload = build_payload(arguments.runs, arguments.data, arguments.samples, *costs)
        runs = count_runs(payload)
        if not runs and (arguments.data or (arguments.out / PAGE).exists()):
            # a page that shows something is not replaced by one that shows nothing
            of = f" of {arguments.data!r}" if arguments.data else ""
            remedy = "no page was written; make a run with: make bench"
            raise UserError(f"No run record{of} below {arguments.runs}: {remedy}")
        path = write_page(arguments.out, payload)
        if not runs:
            print("There is no run record to show yet; make one with: make bench")
        size = f"{path.stat().st_size / 1e6:.1f} MB, {len(payload['datasets'])} datasets"
        print(f"Report: {path} ({size}, {runs} runs); open it in a browser")


class Publish(Command):
    """Copy a run's record and curves to results/records; write the committed leaderboard."""

    example = "imss publish --run results/runs/miniature/sgma/pvt_v2_b0-seed0-0123abcd"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_run(parser)
        text = "also the example pictures, which must be of generated scenes"
        add_flag(parser, "--pictures", text)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.leaderboard.contests import write_contests
        from benchmark.leaderboard.score_rows import leaderboard_rows
        from benchmark.leaderboard.write import write_leaderboard
        from benchmark.records.groups import seed_groups
        from benchmark.records.record import read_record
        from benchmark.records.selection import PUBLISHED, select_records
        from benchmark.report.publication import publish_run

        if not (arguments.run / "record").is_dir():
            remedy = "RUN is a directory that `bench` wrote and finished"
            raise UserError(f"There is no record in {arguments.run}: {remedy}.")
        record = read_record(arguments.run / "record")
        manifest = record.manifest
        name = f"{manifest.variant}-{manifest.backbone}-seed{manifest.seed}"
        target = PUBLISHED / manifest.data / f"{name}-{manifest.identity[:8]}"
        publish_run(record, target, arguments.pictures)
        print(f"Published: {target}")
        # of published records only; the documents that show them are filled by `make refresh`
        selection = select_records(PUBLISHED, [manifest.data], contests=True)[manifest.data]
        out = PUBLISHED.parent / "leaderboards"
        boards = map(leaderboard_rows, map(seed_groups, (selection.records, selection.contests)))
        for write, rows in zip((write_leaderboard, write_contests), boards, strict=True):
            if rows:
                write(manifest.data, rows, selection.skipped, out)
        print(f"Leaderboard: {out / manifest.data}.md; the documents: make refresh")


class Tables(Command):
    """Write the papers' tables with what run records give beside them."""

    example = "imss tables --runs results/runs"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_runs(parser)
        options.add_out(parser)
        add_flag(parser, "--no-audit", "leave out the letters and notes of the audit")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.papers.render import write_paper_tables
        from benchmark.papers.tables import paper_tables_of_runs
        from benchmark.sweep.sweep_file import sweeps_of_tables

        tables = paper_tables_of_runs(arguments.runs, not arguments.no_audit)
        out = options.output_directory(arguments, "tables")
        paths = write_paper_tables(out, tables)
        measured = printed = 0
        for table in tables:
            for row in table.rows:
                measured += bool(row.measured)
                printed += bool(row.printed)
        files = f"{len(tables)} in {out}, {len(paths)} files"
        print(f"Tables: {files}; {measured} of {printed} rows have been measured.")
        for name, path in sorted(sweeps_of_tables().items()):
            print(f"  {name:12} is filled by {path.name}: make reproduce TABLE={name}")


class Audit(Command):
    """Recompute what papers derive from their own printed numbers."""

    example = "imss audit --out results"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_path(parser, "--out", "directory of audit.csv and audit.md", "results")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.papers.audit.report import (
            audit_papers,
            describe_finding,
            select_findings,
            write_audit,
        )
        from benchmark.papers.printed_numbers import read_paper_results

        results = read_paper_results()
        checks = audit_papers(results)
        findings = select_findings(checks)
        for check in findings:
            print(describe_finding(results, check))
        counted = sum(bool(check.counted) for check in checks)
        print(f"{counted} checks, {len(findings)} findings.")
        for path in write_audit(arguments.out, results, checks):
            print(f"Audit: {path}")


class WandbWorkspace(Command):
    """Save a W&B workspace for the runs of a dataset that were made with --logger wandb."""

    example = "imss wandb-workspace --data miniature --entity my-team"
    aliases = ("dashboard",)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_option(parser, "--data", "miniature", "dataset with run records")
        options.add_runs(parser)
        text = f"W&B project (default: WANDB_PROJECT, or {WANDB_PROJECT})"
        add_option(parser, "--project", "", text)
        add_option(parser, "--entity", "", "W&B user or team (default: WANDB_ENTITY, or your own)")
        add_option(parser, "--sweep", "", "show the runs of this sweep alone")

    def run_command(self, arguments: argparse.Namespace) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        from benchmark.records.selection import select_records
        from benchmark.tracking.wandb_workspace import (
            EXTRA,
            build_workspace,
            call_wandb,
            entity_of_user,
            save_workspace,
        )

        try:
            import wandb_workspaces.workspaces  # noqa: F401
        except ImportError as error:
            raise UserError(EXTRA) from error
        data = arguments.data
        project = arguments.project or os.environ.get("WANDB_PROJECT") or WANDB_PROJECT
        wanted = arguments.entity or os.environ.get("WANDB_ENTITY", "")
        entity = call_wandb(entity_of_user, wanted)
        records = select_records(arguments.runs, [data])[data].records
        longest = max(records, key=lambda record: len(record.manifest.modalities))
        letters = longest.manifest.modalities
        view = build_workspace(project, entity, data, letters, arguments.sweep)
        # the address is kept, so that the next call replaces this workspace instead of adding one
        name = ".".join(filter(None, ["wandb-workspace", entity, project, arguments.sweep]))
        memory = arguments.runs / data / f"{name}.txt"
        print(f"Workspace: {call_wandb(save_workspace, view, memory)}")


class WandbImport(Command):
    """Send published records to W&B, so that a new project has baselines to compare with."""

    example = "imss wandb import --data miniature"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_option(parser, "--data", "miniature", "dataset with published records")
        options.add_runs(parser)

    def run_command(self, arguments: argparse.Namespace) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        from benchmark.records.selection import PUBLISHED, select_records
        from benchmark.tracking.wandb_summary import import_record
        from benchmark.tracking.wandb_workspace import call_wandb

        folder = beside_runs(arguments.runs, "wandb_import")
        records = select_records(PUBLISHED, [arguments.data])[arguments.data].records
        for record in records:
            call_wandb(import_record, record, folder)
            print(f"Sent: {record.path.name}", flush=True)
        print(f"{len(records)} runs; what W&B keeps of them here is in {folder}")
