"""The `imss leaderboard` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.leaderboard.write import rebuild
from benchmark.records.selection import chosen_records


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Rebuild the leaderboard of one dataset, or of all that have records."""
    out = Path(arguments.out).expanduser()
    for data, choice in chosen_records(Path(arguments.runs).expanduser(), arguments.data).items():
        rebuild(data, choice, out)
