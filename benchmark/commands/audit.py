"""`imss audit`."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_out_argument


class Audit(Command):
    """Recompute what papers derive from their own printed numbers."""

    example = "imss audit --out results"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        text = "directory of audit.csv and audit.md (default %(default)s)"
        add_out_argument(parser, text, "results")

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
