"""The `imss tables` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.formats.files import write_texts
from benchmark.papers.costs import read_published
from benchmark.papers.measured import Runs
from benchmark.papers.model import Table
from benchmark.papers.printed_numbers import read_paper_results
from benchmark.papers.tables import build_tables
from benchmark.records.selection import records_among


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Write every published table beside what the run records give."""
    runs, out = Path(arguments.runs).expanduser(), Path(arguments.out).expanduser()
    reported = read_paper_results()
    datasets = {cell.dataset for cell in reported.numbers}
    chosen = records_among(runs, datasets)
    by_data = {data: choice.records for data, choice in chosen.items()}
    left_out = {data: choice.left_out for data, choice in chosen.items()}
    tables = build_tables(reported, Runs(by_data, left_out), read_published())
    paths = write_tables(out, tables)
    measured = sum(bool(row.measured) for table in tables for row in table.rows)
    rows = sum(bool(row.cells) for table in tables for row in table.rows)
    print(
        f"Tables: {len(tables)} in {out}, {len(paths)} files; {measured} of {rows} rows have been measured."
    )


def write_tables(directory: Path, tables: Sequence[Table]) -> list[Path]:
    """Write three files per table; return the paths.

    Raises:
        UserError: the directory cannot be written.
    """
    from benchmark.papers.render import as_csv, as_latex, as_markdown

    formats = {"csv": as_csv, "md": as_markdown, "tex": as_latex}
    contents = {
        f"{table.stem}.{suffix}": form(table)
        for table in tables
        for suffix, form in formats.items()
    }
    return write_texts(directory, contents)
