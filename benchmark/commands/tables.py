"""The `imss tables` command."""

from __future__ import annotations

import argparse

from benchmark.commands.options import Command, add_out_argument, add_runs_argument


class Tables(Command):
    """Write the papers' tables with what run records give beside them."""

    example = "imss tables --out results/tables"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_runs_argument(parser)
        add_out_argument(parser, "directory to write (default %(default)s)", "results/tables")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.papers.render import write_paper_tables
        from benchmark.papers.tables import paper_tables_of_runs

        tables = paper_tables_of_runs(arguments.runs)
        paths = write_paper_tables(arguments.out, tables)
        rows = [row for table in tables for row in table.rows]
        measured = sum(bool(row.measured) for row in rows)
        printed = sum(bool(row.printed) for row in rows)
        print(
            f"Tables: {len(tables)} in {arguments.out}, {len(paths)} files; "
            f"{measured} of {printed} rows have been measured."
        )
