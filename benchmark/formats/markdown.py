"""Tables of texts, and pages of them, as Markdown; tables on the terminal.

A page is a sequence of parts: a table (a frame whose cells are texts) or plain Markdown.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd

from benchmark.formats.terminal import as_shown
from datamodules.store.names import printable

Part = pd.DataFrame | str
NUMBER = r"[-+]?\d"
# an underscore between letters is none of Markdown's, and one sign alone pairs with nothing
ALWAYS = re.compile(r"[\\`|\[]|(?<!\w)_|_(?!\w)")
PAIRED = "*~$"
ENTITY, TAG = re.compile(r"&(?=#?\w+;)"), re.compile(r"<(?=[\w/!?])")


def escape_markdown(text: object) -> str:
    r"""Write plain text so that Markdown shows it as it stands, in a cell or a paragraph.

    Example:
        >>> escape_markdown("a|b <i> low_veg $x$ *")
        'a\\|b &lt;i> low_veg \\$x\\$ *'
    """
    escaped = ALWAYS.sub(r"\\\g<0>", printable(text).replace("\n", " "))
    for sign in PAIRED:
        if escaped.count(sign) > 1:
            escaped = escaped.replace(sign, f"\\{sign}")
    return TAG.sub("&lt;", ENTITY.sub("&amp;", escaped))


def is_numeric(texts: pd.Series) -> bool:
    """Tell whether a column holds numbers, which are right aligned; dashes may stand between."""
    texts = texts.astype(str)
    return bool(texts.str.match(NUMBER).any() or (texts == "-").all())


def column_alignment(table: pd.DataFrame) -> str:
    """Align every column, `l` or `r`, as LaTeX names it."""
    # what a column holds decides, so that no list of column names has to be kept
    return "".join("r" if is_numeric(table[name]) else "l" for name in table)


def markdown_rows(head: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """Write a GitHub table of Markdown; names in it are escaped already."""
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
    rows = table.map(escape_markdown).to_numpy().tolist()
    return markdown_rows(list(map(escape_markdown, table)), rows, column_alignment(table))


def markdown_page(parts: Sequence[Part]) -> str:
    """Write the parts with a blank line between them."""
    texts = [part if isinstance(part, str) else markdown_table(part) for part in parts]
    return "\n\n".join(texts) + "\n"


def print_table(title: str, display: pd.DataFrame, compact: bool = False) -> None:
    """Print a table of texts, numbers right aligned; a compact one within the terminal's width."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def text(cell: object) -> Text:
        # a string would be read as markup, and a name as orders to the terminal
        return Text(as_shown(printable(cell)))

    console = Console()
    if not compact:
        # a narrow terminal wraps lines; nothing is cut off
        console.width = 10_000
    table = Table(title=text(title))
    if compact:
        # a title of the table would be wrapped to the table's width
        console.print(text(title), style="bold")
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name, side in zip(display.columns, column_alignment(display), strict=True):
        justify: Literal["left", "right"] = "right" if side == "r" else "left"
        table.add_column(text(name), justify=justify, no_wrap=not compact, overflow="fold")
    for row in display.astype(str).to_numpy():
        table.add_row(*map(text, row))
    console.print(table)
