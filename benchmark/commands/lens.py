"""The `imss lens` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.analysis.metric_conventions import lens_table, shown, write_lenses
from benchmark.formats.terminal import print_display
from benchmark.records.groups import comparable_groups, seed_groups
from benchmark.records.selection import chosen_records


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Write the lenses of one dataset, or of all that have records, and print Average."""
    out = Path(arguments.out).expanduser()
    for data, choice in chosen_records(Path(arguments.runs).expanduser(), arguments.data).items():
        tables = {
            title: lens_table(rows)
            for title, rows in comparable_groups(seed_groups(choice.records)).items()
        }
        paths = write_lenses(out, data, tables, choice.left_out)
        for title, table in tables.items():
            print_display(
                f"{data}, {title}: Average under each convention", shown(table, "Average")
            )
        print("Lenses: " + ", ".join(str(path) for path in paths))
