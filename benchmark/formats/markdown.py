"""Tables of texts, and pages of them, as Markdown.

A page is a sequence of parts: a table (a frame whose cells are texts) or plain Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pandas as pd

Part = pd.DataFrame | str
NUMBER = re.compile(r"[-+]?\d")


def is_numeric(texts: Iterable[object]) -> bool:
    """Whether a column holds numbers, which are right aligned; dashes may stand between."""
    return any(NUMBER.match(str(text)) for text in texts) or set(texts) == {"-"}


def column_alignment(table: pd.DataFrame) -> str:
    """Align every column, `l` or `r`, as LaTeX names it."""
    return "".join("r" if is_numeric(table[name]) else "l" for name in table)


def markdown_rows(head: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """Write a GitHub table; its cells are not padded, so that one number changes one line."""
    rule = "|" + "|".join("---:" if side == "r" else "---" for side in align) + "|"
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
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
