"""The three files of a table: every number as CSV, a page as Markdown, one table as LaTeX."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmark.formats.files import csv_text, write_texts
from benchmark.formats.latex import latex_table
from benchmark.formats.markdown import Part, escape_markdown, markdown_page

# what a command shows: the files' paths, and tables by title
Written = tuple[list[Path], dict[str, pd.DataFrame]]


def write_table_files(
    out: Path,
    stem: str,
    frames: Mapping[str, pd.DataFrame],
    page: Sequence[Part],
    headline: Mapping[str, pd.DataFrame],
    note: str,
    skipped: Sequence[str],
    best: pd.DataFrame | None = None,
) -> list[Path]:
    """Write `<stem>.csv` (or another suffix of `frames`), `.md` and `.tex`; return the paths.

    `headline` is the table of the LaTeX file by protocol, `best` its cells in bold, and `note`
    stands below it.
    """
    contents = {f"{stem}.{suffix}": csv_text(frame) for suffix, frame in frames.items()}
    left_out = list(map("- {}".format, skipped))
    escaped = map("- {}".format, map(escape_markdown, skipped))
    notes = ["Left out:", "\n".join(escaped)] if skipped else []
    contents[f"{stem}.md"] = markdown_page([*page, *notes])
    tables = list(headline.values())
    if len(tables) > 1:
        tables = [table.assign(protocol=title) for title, table in headline.items()]
    table = pd.concat(tables).fillna("-")
    # LaTeX knows no list here: a sentence is a paragraph
    notes = [note, *(["Left out:", *left_out] if skipped else [])]
    contents[f"{stem}.tex"] = latex_table(table, notes, best)
    return write_texts(out, contents)
