"""The files of an analysis: every number as CSV, a page of all tables, its first table as LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmark.formats.files import write_texts
from benchmark.formats.markdown_latex import Part, page_latex, page_markdown
from benchmark.leaderboard.notes import left_out_notes


def write_analysis(
    out: Path,
    stem: str,
    frames: Mapping[str, pd.DataFrame],
    page: Sequence[Part],
    headline: Mapping[str, pd.DataFrame],
    note: str,
    skipped: Sequence[str],
) -> list[Path]:
    """Write `<stem>.csv` (or another suffix of `frames`), `.md` and `.tex`; return the paths.

    Args:
        out: the directory.
        stem: what the names begin with.
        frames: numbers by suffix.
        page: parts of the Markdown page.
        headline: the table of the LaTeX file, by protocol.
        note: what stands below it.
        skipped: sentences about records that are in none of them.
    """
    contents = {}
    for suffix, frame in frames.items():
        csv = frame.to_csv(index=False, float_format="%.4f", lineterminator="\n")
        contents[f"{stem}.{suffix}"] = csv
    left_out = left_out_notes(skipped)
    contents[f"{stem}.md"] = page_markdown([*page, *left_out])
    tables = list(headline.values())
    if len(tables) > 1:
        tables = [table.assign(protocol=title) for title, table in headline.items()]
    contents[f"{stem}.tex"] = page_latex([pd.concat(tables).fillna("-"), note, *left_out])
    return write_texts(out, contents)
