"""The `imss worth` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.analysis.sensor_value import (
    complete_rows,
    expected_table,
    shapley_table,
    write_worth,
)
from benchmark.formats.terminal import print_display
from benchmark.records.groups import comparable_groups, seed_groups
from benchmark.records.selection import chosen_records


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Write the worth of the sensors of one dataset, or of all that have records, and print the headline."""
    out = Path(arguments.out).expanduser()
    for data, choice in chosen_records(Path(arguments.runs).expanduser(), arguments.data).items():
        left_out = list(choice.left_out)
        rows = complete_rows(seed_groups(choice.records), left_out)
        if not rows:
            continue
        paths = write_worth(out, data, rows, arguments.empty, left_out)
        for title, members in comparable_groups(rows).items():
            print_display(
                f"{data}, {title}: Shapley values of mIoU in points",
                shapley_table(members, arguments.empty),
            )
            print_display(f"{data}, {title}: expected mIoU in per cent", expected_table(members))
        print("Worth: " + ", ".join(str(path) for path in paths))
