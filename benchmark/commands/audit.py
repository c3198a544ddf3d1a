"""The `imss audit` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.papers.audit.report import (
    audit_papers,
    describe_finding,
    select_findings,
    write_audit,
)
from benchmark.papers.printed_numbers import read_paper_results


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Print every finding, then write both files."""
    results = read_paper_results()
    checks = audit_papers(results)
    findings = select_findings(checks)
    for check in findings:
        print(describe_finding(results, check))
    counted = sum(bool(check.counted) for check in checks)
    print(f"{counted} checks, {len(findings)} findings.")
    for path in write_audit(Path(arguments.out).expanduser(), results, checks):
        print(f"Audit: {path}")
