"""Tables for the terminal."""

from __future__ import annotations

import pandas as pd

from benchmark.formats.markdown import column_alignment

WIDEST = 10_000  # columns of a table on the terminal


def print_table(title: str, display: pd.DataFrame) -> None:
    """Print a table of texts, numbers right aligned."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for name, side in zip(display.columns, column_alignment(display), strict=True):
        table.add_column(name, justify="right" if side == "r" else "left", no_wrap=True)
    for row in display.astype(str).to_numpy():
        table.add_row(*row)
    console = Console()
    console.width = WIDEST  # a narrow terminal wraps lines; nothing is cut off
    console.print(table)
