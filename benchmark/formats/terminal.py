"""Tables for the terminal."""

from __future__ import annotations

import pandas as pd

from benchmark.formats.markdown_latex import TEXT_COLUMNS, cells

WIDEST = 10_000  # columns of a table on the terminal


def print_display(title: str, display: pd.DataFrame) -> None:
    """A table of texts on the terminal, first columns left and numbers right aligned."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for name in display.columns:
        table.add_column(name, justify="left" if name in TEXT_COLUMNS else "right", no_wrap=True)
    for row in cells(display):
        table.add_row(*row)
    console = Console()
    console.width = WIDEST  # a narrow terminal wraps lines; nothing is cut off
    console.print(table)
