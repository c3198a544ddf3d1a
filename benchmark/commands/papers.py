"""What papers print, beside what was measured."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_path, add_runs


class Tables(Command):
    """Write the papers' tables with what run records give beside them."""

    example = "imss tables --out results/tables"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_runs(parser)
        add_path(parser, "--out", "directory to write", "results/tables")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.papers.render import write_paper_tables
        from benchmark.papers.tables import paper_tables_of_runs

        tables = paper_tables_of_runs(arguments.runs)
        paths = write_paper_tables(arguments.out, tables)
        rows = [row for table in tables for row in table.rows]
        measured = sum(bool(row.measured) for row in rows)
        printed = sum(bool(row.printed) for row in rows)
        print(
            f"Tables: {len(tables)} in {arguments.out}, {len(paths)} files; "
            f"{measured} of {printed} rows have been measured."
        )


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
