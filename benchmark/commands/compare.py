"""The `imss compare` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.analysis.comparison import compare, named_rows, print_summary, write_intervals
from benchmark.records.groups import comparable_groups, seed_groups
from benchmark.records.selection import chosen_records
from usererror import UserError


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Compare the named methods, or all, of one dataset, or of all that have records."""
    if arguments.samples < 100:
        raise UserError(
            f"--samples {arguments.samples} is too few for an interval; use at least 100."
        )
    if not 0 < arguments.level < 100:
        raise UserError(
            f"--level {arguments.level:g} is no percentage of an interval; use one such as 95."
        )
    out, wanted = (
        Path(arguments.out).expanduser(),
        [word for word in arguments.methods.split(",") if word],
    )
    for data, choice in chosen_records(Path(arguments.runs).expanduser(), arguments.data).items():
        rows, left_out = seed_groups(choice.records), list(choice.left_out)
        if wanted:
            rows = named_rows(rows, wanted)
        tables = []
        for title, members in comparable_groups(rows).items():
            lines = compare(members, arguments.samples, arguments.level, arguments.seed, left_out)
            if lines.empty:
                print(
                    f"Nothing to compare under {data}, {title}: fewer than two methods have counts per scene."
                )
                continue
            tables.append(lines.assign(protocol=title))
            print_summary(f"{data}, {title}", lines)
        if tables:
            # a comparison of some leaves that of all as it is
            paths = write_intervals(out, ".".join([data, *wanted]), data, tables, left_out)
            print("Intervals: " + ", ".join(str(path) for path in paths))
        elif wanted:
            raise UserError(
                f"{' and '.join(wanted)} cannot be compared: counts per scene are needed of two; run again."
            )
