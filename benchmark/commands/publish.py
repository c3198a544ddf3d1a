"""`imss publish`: copy a run's slim record to results/records, where committed tables read it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.records.record import publish_record, read_record
from benchmark.records.selection import PUBLISHED


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Check the record, then copy manifest and summary."""
    source = Path(arguments.run).expanduser() / "record"
    manifest = read_record(source).manifest
    name = (
        "-".join(str(manifest[key]) for key in ("variant", "backbone")) + f"-seed{manifest['seed']}"
    )
    target = PUBLISHED / manifest["data"] / f"{name}-{manifest['identity'][:8]}"
    publish_record(source, target)
    print(f"Published: {target}")
