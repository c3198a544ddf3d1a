"""Tables as text: lists of splits and classes of the package, and CSV files of users; counts."""

import codecs
import csv
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

SPLITS_FOLDER = Path(__file__).parent
DELIMITERS = ",;\t|"
Row = dict[str, str]


def decode_text(content: bytes) -> str:
    """Return UTF-8 or, where its mark stands first, UTF-16 as text; raises UnicodeError.

    Example:
        >>> decode_text("id".encode("utf-16")), decode_text("id".encode("utf-8-sig"))
        ('id', 'id')
    """
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if marked else "utf-8-sig")


def read_text_table(content: bytes) -> tuple[list[str], list[Row]]:
    r"""Read a CSV file as spreadsheets write it: the columns, and the rows as stripped text.

    Columns may be parted by commas, semicolons, tabs or bars; empty rows, empty columns at the end
    and lines that begin with `#` are left out. Raises ValueError.

    Example:
        >>> read_text_table(b"id; name; note;\r\n07; NA\r\n;;;\r\n")
        (['id', 'name', 'note'], [{'id': '07', 'name': 'NA', 'note': ''}])
    """
    text = decode_text(content)
    if "\0" in text:
        raise UnicodeError("it holds bytes that are no text")
    lines = re.split("\r\n|\r|\n", text)
    for i, line in enumerate(lines):
        # notes, and what some spreadsheets write above a table; the numbers of lines stay
        if line.startswith("#") or re.match("(?i)sep=.$", line):
            lines[i] = ""
    head = next((line for line in lines if line.strip(DELIMITERS + " ")), "")
    # names of columns hold none of these, whatever the cells below them do
    delimiter = max(DELIMITERS, key=head.count)
    stream = StringIO("\n".join(lines))
    reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
    columns: list[str] = []
    rows = []
    try:
        for read in reader:
            cells = [cell.strip() for cell in read]
            while cells and not cells[-1]:
                cells.pop()
            if "\n" in "".join(cells):
                raise ValueError("a cell holds a line break: is a quotation mark not closed?")
            if not columns:
                columns = cells
            elif len(cells) > len(columns):
                expected = f"the header has {len(columns)} columns, line {reader.line_num}"
                raise ValueError(f"{expected} has {len(cells)} cells: take out what is too much")
            elif cells:
                cells += [""] * (len(columns) - len(cells))
                rows.append(dict(zip(columns, cells, strict=True)))
    except csv.Error as error:
        raise ValueError(f"{error}: is a quotation mark not closed?") from error
    for column in columns:
        if columns.count(column) > 1:
            raise ValueError(f"the column {column!r} occurs more than once")
    return columns, rows


@cache
def read_split_table(dataset: str) -> dict[str, Row]:
    """Read a packaged list, of a dataset's scenes or classes, as {first cell: {column: text}}.

    Example:
        >>> read_split_table("potsdam")["2_10"]["split_official"]
        'train'
    """
    _, rows = read_text_table((SPLITS_FOLDER / f"{dataset}.csv").read_bytes())
    return {next(iter(row.values())): row for row in rows}


@cache
def _read_releases() -> dict[str, dict[str, Any]]:
    return tomllib.loads((SPLITS_FOLDER / "releases.toml").read_text(encoding="utf-8"))


def read_release(dataset: str) -> dict[str, Any]:
    """Read the packaged facts of an open dataset: texts, counts, what its authors measured.

    Example:
        >>> read_release("geonrw")["counts"]
        {'split_official': {'train': 7298, 'test': 485}}
    """
    return dict(_read_releases()[dataset])


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
