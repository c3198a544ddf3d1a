"""Writing the files of a table, reading CSV files of ours."""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pandas as pd

from datamodules.store.names import printable
from datamodules.store.scene_store import write_text_whole
from usererror import UserError

# a dash alone stands for what is missing
NUMBER = re.compile(r"[-+]?\d*\.?\d*([eE][-+]?\d+)?( ?%)?")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet begins one


def make_writable(folder: Path, option: str = "--out") -> Path:
    """Make a folder that files can be written to, before work begins; `option` names another."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # asked of the disk: permissions do not say whether it is mounted for reading only
        with TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        reason = f"{folder} cannot be written ({error.strerror})"
        raise UserError(f"{reason}: name another place with {option}.") from error


def write_texts(directory: Path, contents: Mapping[str, str]) -> list[Path]:
    """Write each text of {file name: text} whole, in this order; return the paths."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            write_text_whole(directory / name, text)
    except OSError as error:
        reason = f"{directory} cannot be written ({error.strerror})"
        raise UserError(f"{reason}: name another place with --out.") from error
    return [directory / name for name in contents]


def is_own_file(path: Path, root: Path) -> bool:
    """Tell whether a path below `root` is no link, nor below one.

    What lies in a run that was received may be a link, and the file behind it the reader's own.
    """
    return path.resolve() == root.resolve() / path.relative_to(root)


def own_file(path: Path, root: Path) -> Path:
    """Return a path below `root`, or raise a UserError if it is a link."""
    if not is_own_file(path, root):
        raise UserError(f"{path} is a link; a run is read and published without any.")
    return path


def csv_text(frame: pd.DataFrame, decimals: int | None = 4) -> str:
    """Write a frame as CSV with a fixed number of decimals, or all of them.

    Example:
        >>> print(csv_text(pd.DataFrame({"class": ["roof", "=1+1"], "IoU": [0.5, 1]}), 1), end="")
        class,IoU
        roof,0.5
        '=1+1,1.0
    """
    shown = frame.rename(columns=neutral_cell)
    for place, dtype in enumerate(frame.dtypes):
        if not pd.api.types.is_numeric_dtype(dtype):
            shown.isetitem(place, list(map(neutral_cell, frame.iloc[:, place])))
    digits = None if decimals is None else f"%.{decimals}f"
    return shown.to_csv(index=False, float_format=digits, lineterminator="\n")


def neutral_cell(value: Any) -> Any:
    """Return a cell that a spreadsheet takes for a text, not for a formula."""
    if not isinstance(value, str) or NUMBER.fullmatch(value):
        return value
    return printable(f"'{value}" if value.startswith(FORMULA) else value)


def read_csv_rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Read the rows of a CSV file that has at least these columns."""
    restore = f"restore it: git checkout {path}"
    # csv rather than pandas, which would shift a row that is too long and fill a short one
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is missing or no UTF-8 text; {restore}") from error
    if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise UserError(f"{path} lacks the column {', '.join(missing)}; {restore}")
    for line, row in enumerate(rows, start=2):
        # DictReader files what is too much, and fills what is missing, under None
        if None in row or None in row.values():
            place = f"{path}, line {line}"
            raise UserError(f"{place}: the row has another number of values than the header.")
    return rows
