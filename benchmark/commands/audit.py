"""The `imss audit` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.papers.audit.report import audit, findings, place, write_audit
from benchmark.papers.printed_numbers import read_reported


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Print every finding, then write both files."""
    reported = read_reported()
    checks = audit(reported)
    out = Path(arguments.out).expanduser()
    for check in findings(checks):
        print(f"{place(reported, check)}: {check.rule} ({check.kind}): {check.arithmetic}")
    counted = [check for check in checks if check.counted]
    print(f"{len(counted)} checks, {len(findings(checks))} findings.")
    for path in write_audit(out, reported, checks):
        print(f"Audit: {path}")
