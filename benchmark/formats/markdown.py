"""Tables of texts, and pages of them, as Markdown; tables on the terminal.

A page is a sequence of parts: a table (a frame whose cells are texts) or plain Markdown.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

Part = pd.DataFrame | str
NUMBER = r"[-+]?\d"


def is_numeric(texts: pd.Series) -> bool:
    """Tell whether a column holds numbers, which are right aligned; dashes may stand between."""
    texts = texts.astype(str)
    return bool(texts.str.match(NUMBER).any() or (texts == "-").all())


def column_alignment(table: pd.DataFrame) -> str:
    """Align every column, `l` or `r`, as LaTeX names it."""
    # what a column holds decides, so that no list of column names has to be kept
    return "".join("r" if is_numeric(table[name]) else "l" for name in table)


def markdown_rows(head: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """Write a GitHub table of texts."""
    rule = "|" + align.replace("l", "---|").replace("r", "---:|")
    # cells are not padded (tabulate does), so that a new number changes one line of a file
    lines = list(map("| {} |".format, map(" | ".join, (head, *rows))))
    return "\n".join([lines[0], rule, *lines[1:]])


def markdown_table(table: pd.DataFrame) -> str:
    """Write a frame as a GitHub table, numbers right aligned.

    Example:
        >>> print(markdown_table(pd.DataFrame({"method": ["sgma"], "R": ["57.05"]})))
        | method | R |
        |---|---:|
        | sgma | 57.05 |
    """
    rows = table.astype(str).to_numpy().tolist()
    return markdown_rows(list(table.columns), rows, column_alignment(table))


def markdown_page(parts: Sequence[Part]) -> str:
    """Write the parts with a blank line between them."""
    texts = [part if isinstance(part, str) else markdown_table(part) for part in parts]
    return "\n\n".join(texts) + "\n"


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
    # a narrow terminal wraps lines; nothing is cut off
    console.width = 10_000
    console.print(table)
