"""`imss tables`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands.options import Command, add_out_argument, add_runs_argument

if TYPE_CHECKING:
    from benchmark.papers.model import Table


class Tables(Command):
    """Write the papers' tables with what run records give beside them."""

    example = "imss tables --out results/tables"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_runs_argument(parser)
        add_out_argument(parser, "directory to write (default %(default)s)", "results/tables")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.papers.costs import read_published
        from benchmark.papers.measured import Runs
        from benchmark.papers.printed_numbers import read_paper_results
        from benchmark.papers.tables import build_tables
        from benchmark.records.selection import records_among

        reported = read_paper_results()
        chosen = records_among(arguments.runs, {cell.dataset for cell in reported.numbers})
        by_data = {data: choice.records for data, choice in chosen.items()}
        left_out = {data: choice.left_out for data, choice in chosen.items()}
        tables = build_tables(reported, Runs(by_data, left_out), read_published())
        paths = write_tables(arguments.out, tables)
        rows = [row for table in tables for row in table.rows]
        measured = sum(bool(row.measured) for row in rows)
        printed = sum(bool(row.cells) for row in rows)
        print(
            f"Tables: {len(tables)} in {arguments.out}, {len(paths)} files; "
            f"{measured} of {printed} rows have been measured."
        )


def write_tables(directory: Path, tables: Sequence[Table]) -> list[Path]:
    """Write three files per table; return the paths.

    Raises:
        UserError: the directory cannot be written.
    """
    from benchmark.formats.files import write_texts
    from benchmark.papers.render import as_csv, as_latex, as_markdown

    contents = {}
    for table in tables:
        contents[f"{table.stem}.csv"] = as_csv(table)
        contents[f"{table.stem}.md"] = as_markdown(table)
        contents[f"{table.stem}.tex"] = as_latex(table)
    return write_texts(directory, contents)
