"""Writing the files of a table, reading CSV files of ours."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from datamodules.store.scene_store import write_text_whole
from usererror import UserError


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


def csv_text(frame: pd.DataFrame, decimals: int = 4) -> str:
    """Write a frame as CSV with a fixed number of decimals."""
    return frame.to_csv(index=False, float_format=f"%.{decimals}f", lineterminator="\n")


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
