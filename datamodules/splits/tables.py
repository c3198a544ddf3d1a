"""Tables as text: lists of splits and classes of the package, and CSV files of users; counts."""

from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pandas as pd

SPLITS_FOLDER = Path(__file__).parent


def read_text_table(source: Path | BytesIO) -> pd.DataFrame:
    """Read a CSV file with every cell as stripped text; rows without content are left out.

    Example:
        >>> read_text_table(BytesIO(b"id, name, note\\n07, NA\\n,,\\n")).to_dict("records")
        [{'id': '07', 'name': 'NA', 'note': ''}]
    """
    # without header=None pandas would rename a column that occurs twice instead of refusing it;
    # without keep_default_na=False a scene called NA would become a missing value
    as_text: Any = {"header": None, "dtype": str, "keep_default_na": False}
    cells = pd.read_csv(source, skipinitialspace=True, encoding="utf-8-sig", **as_text)
    cells = cells.apply(lambda column: column.str.strip())
    if cells.apply(lambda column: column.str.contains("\n")).any(axis=None):
        raise ValueError("a cell holds a line break: is a quotation mark not closed?")
    table = cells[1:].set_axis(cells.iloc[0].to_list(), axis=1)
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()][0]
        raise ValueError(f"the column {twice!r} occurs more than once")
    return table[(table != "").any(axis=1)]


def table_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return the rows of a table of text as dictionaries."""
    return cast(list[dict[str, str]], table.to_dict("records"))


@cache
def read_split_table(dataset: str) -> dict[str, dict[str, str]]:
    """Read a packaged list, of a dataset's scenes or classes, as {first cell: {column: text}}.

    Example:
        >>> read_split_table("potsdam")["2_10"]["split_official"]
        'train'
    """
    rows = table_rows(read_text_table(SPLITS_FOLDER / f"{dataset}.csv"))
    return {next(iter(row.values())): row for row in rows}


def split_columns(table: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return {scene: {split column: part}} of a list of scenes."""
    splits = {}
    for scene, row in table.items():
        splits[scene] = {column: row[column] for column in row if column.startswith("split_")}
    return splits


def format_counts(counts: Mapping[str, int]) -> str:
    """Return counts as text, zeros left out: `24 train, 14 test`."""
    shown = [f"{count} {name}" for name, count in counts.items() if count]
    return ", ".join(shown) or "none"


def list_names(names: Sequence[str], most: int) -> str:
    """Return the first names as text, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
