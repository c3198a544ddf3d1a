"""The numbers that papers print, from results/reported: one cell per number, exact, with the rounding of its print.

Scores are per cent. The columns and the vocabulary are described in results/reported/README.md.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from benchmark.choices import ROOT
from usererror import UserError

REPORTED = ROOT / "results" / "reported"
LABELS, CLAIMS = "labels.csv", "claims.csv"
COLUMNS = ("source", "table", "dataset", "backbone", "method", "variant", "combo", "metric", "kind")
CONFIGURATION = ("dataset", "backbone", "method", "variant", "combo", "metric", "kind")
ABSOLUTE = ("score", "summary", "cost")
KINDS = (*ABSOLUTE, "difference", "relative_difference")


@dataclass(frozen=True)
class Rounded:
    """A number known up to rounding: its value, and the ends of what it may have been before it was rounded."""

    value: Fraction
    low: Fraction
    high: Fraction

    @classmethod
    def printed(cls, text: str) -> Rounded:
        """A printed decimal number, known to half a unit of its last digit."""
        value, half = Fraction(text), Fraction(1, 2 * 10 ** decimals(text))
        return cls(value, value - half, value + half)

    def map(self, increasing: Callable[[Fraction], Fraction]) -> Rounded:
        """An increasing function of the number."""
        return Rounded(increasing(self.value), increasing(self.low), increasing(self.high))

    def __sub__(self, other: Rounded) -> Rounded:
        return Rounded(self.value - other.value, self.low - other.high, self.high - other.low)

    def over(self, other: Rounded) -> Rounded:
        """The quotient of two positive numbers."""
        return Rounded(self.value / other.value, self.low / other.high, self.high / other.low)


def mean(numbers: Sequence[Rounded]) -> Rounded:
    """The mean of at least one number."""
    return combined(numbers, lambda values: sum(values, Fraction(0)) / len(values))


def combined(
    numbers: Sequence[Rounded], increasing: Callable[[list[Fraction]], Fraction]
) -> Rounded:
    """A function of several numbers that increases with each of them, such as max or the mean."""
    ends = ([getattr(number, end) for number in numbers] for end in ("value", "low", "high"))
    return Rounded(*(increasing(values) for values in ends))


def decimals(text: str) -> int:
    """How many digits stand after the point."""
    return len(text.partition(".")[2])


def shown(value: Fraction, digits: int = 2, sign: bool = False) -> str:
    """The number with `digits` decimals, halves rounded away from zero; `sign` also prints a plus."""
    scaled = abs(value) * 10**digits
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    text = f"{whole:0{digits + 1}d}"
    body = f"{text[:-digits]}.{text[-digits:]}" if digits else text
    minus = "-" if value < 0 and whole else ""
    return (minus or ("+" if sign else "")) + body


@dataclass(frozen=True)
class Cell:
    """One printed number; the fields are the columns of the files, except that `number` is `value` made exact."""

    source: str
    table: str
    dataset: str
    backbone: str
    method: str
    variant: str
    combo: str
    metric: str
    value: str
    kind: str
    reference: str
    printed: str
    paper_row: str
    paper_column: str

    @cached_property
    def number(self) -> Rounded:
        """The value, exact, with its rounding."""
        return Rounded.printed(self.value)

    @property
    def key(self) -> tuple[str, ...]:
        """What tells a cell from all others."""
        return tuple(getattr(self, name) for name in COLUMNS)

    @property
    def location(self) -> str:
        """`column=value;...`, which together with source and table selects this cell."""
        return ";".join(f"{name}={getattr(self, name)}" for name in CONFIGURATION)

    def is_at(self, **columns: str) -> bool:
        """Whether the cell has these values."""
        return all(getattr(self, name) == value for name, value in columns.items())


@dataclass(frozen=True)
class Reported:
    """All printed numbers, and the names for display: `labels[column][id]`."""

    cells: tuple[Cell, ...]
    labels: dict[str, dict[str, str]]

    @cached_property
    def tables(self) -> dict[tuple[str, str], list[Cell]]:
        """Cells by (source, table), in the order of the files."""
        tables: dict[tuple[str, str], list[Cell]] = {}
        for cell in self.cells:
            tables.setdefault((cell.source, cell.table), []).append(cell)
        return tables

    def select(self, source: str, table: str, **columns: str) -> list[Cell]:
        """The cells of a table that have these values, in the order of the paper."""
        return [cell for cell in self.tables.get((source, table), []) if cell.is_at(**columns)]

    @cached_property
    def by_key(self) -> dict[tuple[str, ...], Cell]:
        """Cells by what tells them from all others."""
        return {cell.key: cell for cell in self.cells}

    def find(self, cell: Cell, **changes: str) -> Cell | None:
        """The cell of the same paper and table that differs from `cell` in nothing but `changes`."""
        return self.by_key.get(tuple(changes.get(name, getattr(cell, name)) for name in COLUMNS))

    def need(self, cell: Cell, kinds: Sequence[str] = ("score",), **changes: str) -> Cell:
        """As `find`, for a cell that the table must have, of the first kind that there is.

        Raises:
            UserError: there is none.
        """
        for kind in kinds:
            if (found := self.find(cell, kind=kind, **changes)) is not None:
                return found
        wanted = ", ".join(f"{name} {value}" for name, value in changes.items()) or "absolute value"
        raise UserError(
            f"{cell.source}, Table {cell.table}: no row with {wanted} goes with {cell.location}; add it to {REPORTED}."
        )

    def label(self, column: str, identity: str) -> str:
        """The name for display of an id; the id itself where there is none."""
        return self.labels.get(column, {}).get(identity, identity)


def read_reported(directory: Path = REPORTED) -> Reported:
    """Read every `*_results.csv` and `*_complexity.csv` of the directory, and the labels.

    Raises:
        UserError: a file is missing, lacks a column or holds a value that is no number, or two rows name one cell.
    """
    files = sorted(directory.glob("*_results.csv")) + sorted(directory.glob("*_complexity.csv"))
    if not files:
        raise UserError(
            f"No reported numbers in {directory}; restore the folder with: git checkout results/reported"
        )
    fields = tuple(Cell.__dataclass_fields__)
    cells: dict[tuple[str, ...], Cell] = {}
    for path in files:
        for number, row in enumerate(read_rows(path, fields), start=2):
            cell = Cell(*(row[name] for name in fields))
            _check(cell, path, number)
            if cell.key in cells:
                raise UserError(
                    f"{path}, line {number}: this cell has a row already; remove one of the two."
                )
            cells[cell.key] = cell
    labels: dict[str, dict[str, str]] = {}
    for row in read_rows(directory / LABELS, ("column", "id", "label")):
        labels.setdefault(row["column"], {})[row["id"]] = row["label"]
    return Reported(tuple(cells.values()), labels)


def _check(cell: Cell, path: Path, line: int) -> None:
    try:
        cell.number  # noqa: B018
    except (ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"{path}, line {line}: value {cell.value!r} is no decimal number; correct it."
        ) from error
    if cell.kind not in KINDS:
        raise UserError(
            f"{path}, line {line}: unknown kind {cell.kind!r}; valid are: {', '.join(KINDS)}."
        )


def read_rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a CSV file that has at least these columns.

    Raises:
        UserError: the file is missing, lacks a column, or a row is cut short.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise UserError(
                    f"{path} lacks the column {', '.join(missing)}; restore it with: git checkout {path}"
                )
            rows = list(reader)
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is missing or no UTF-8 text; restore it with: git checkout {path}"
        ) from error
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise UserError(
                f"{path}, line {number}: the row has another number of values than the header; correct it."
            )
    return rows
