"""The numbers that papers print, from results/reported: exact, with the rounding of their print.

Scores are per cent. results/reported/README.md describes the columns and their vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from operator import attrgetter
from pathlib import Path

from benchmark.choices import ROOT
from benchmark.formats.files import read_csv_rows
from usererror import UserError

REPORTED = ROOT / "results" / "reported"
LABELS = "labels.csv"
CONFIGURATION = ("dataset", "backbone", "method", "variant", "combo", "metric", "kind")
KEY = ("source", "table", *CONFIGURATION)  # tells a number from all others
ABSOLUTE = ("score", "summary", "cost")


@dataclass(frozen=True)
class RoundedNumber:
    """A number known up to rounding: its value, and the ends of what it may have been before.

    Example:
        >>> gain = RoundedNumber.from_print("67.6") - RoundedNumber.from_print("64.01")
        >>> float(gain.value), float(gain.low), float(gain.high)
        (3.59, 3.535, 3.645)
    """

    value: Fraction
    low: Fraction
    high: Fraction

    @classmethod
    def from_print(cls, text: str) -> RoundedNumber:
        """Read a printed decimal number, known to half a unit of its last digit."""
        # fractions, so that a number on the very edge of its rounding is judged right
        value, half = Fraction(text), Fraction(1, 2 * 10 ** count_decimals(text))
        return cls(value, value - half, value + half)

    def map(self, increasing: Callable[[Fraction], Fraction]) -> RoundedNumber:
        """Apply an increasing function."""
        return RoundedNumber(*map(increasing, (self.value, self.low, self.high)))

    # as intervals: the ends that make the result smallest and largest
    def __sub__(self, other: RoundedNumber) -> RoundedNumber:
        return RoundedNumber(self.value - other.value, self.low - other.high, self.high - other.low)

    def divided_by(self, other: RoundedNumber) -> RoundedNumber:
        """Divide by another number, both positive."""
        return RoundedNumber(self.value / other.value, self.low / other.high, self.high / other.low)


def count_decimals(text: str) -> int:
    """Count the digits after the point."""
    return len(text.partition(".")[2])


def format_fraction(value: Fraction, digits: int = 2, sign: bool = False) -> str:
    """Format with at least one decimal, halves rounded away from zero; `sign` shows a plus too."""
    scaled = abs(value) * 10**digits
    # integer division rounds halves up exactly, where a float could fall on either side
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    text = f"{whole:0{digits + 1}d}"
    minus = "-" if value < 0 and whole else ""
    return (minus or "+" * sign) + f"{text[:-digits]}.{text[-digits:]}"


@dataclass(frozen=True)
class PrintedNumber:
    """A number of a paper's table; the fields are the columns of the files."""

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

    # read many times by rules, and fractions are slow to make
    @cached_property
    def number(self) -> RoundedNumber:
        """`value`, exact and with its rounding."""
        return RoundedNumber.from_print(self.value)

    @cached_property
    def key(self) -> tuple[str, ...]:
        """What tells this number from all others."""
        return attrgetter(*KEY)(self)

    @property
    def location(self) -> str:
        """`column=value;...`, which with source and table selects this number."""
        return ";".join(map("{}={}".format, CONFIGURATION, attrgetter(*CONFIGURATION)(self)))

    def has_values(self, **columns: str) -> bool:
        """Tell whether the columns have these values."""
        return all(getattr(self, name) == value for name, value in columns.items())


@dataclass(frozen=True)
class PaperResults:
    """All printed numbers, and display names as `labels[column][id]`."""

    numbers: tuple[PrintedNumber, ...]
    labels: dict[str, dict[str, str]]

    @cached_property
    def by_table(self) -> dict[tuple[str, str], list[PrintedNumber]]:
        """Numbers by (source, table), in the order of the files."""
        tables: dict[tuple[str, str], list[PrintedNumber]] = {}
        for entry in self.numbers:
            tables.setdefault((entry.source, entry.table), []).append(entry)
        return tables

    @cached_property
    def by_key(self) -> dict[tuple[str, ...], PrintedNumber]:
        """Numbers by `PrintedNumber.key`."""
        return {entry.key: entry for entry in self.numbers}

    def select_all(self, **columns: str) -> list[PrintedNumber]:
        """Select the numbers of all papers by the values of columns."""
        return [entry for entry in self.numbers if entry.has_values(**columns)]

    def select_in_table(self, source: str, table: str, **columns: str) -> list[PrintedNumber]:
        """Select the numbers of a table by the values of columns.

        Example:
            >>> results = read_paper_results()
            >>> row = dict(method="sgma", backbone="pvt_v2_b2", combo="R+D+N", kind="score")
            >>> [entry.printed for entry in results.select_in_table("sgma", "I", **row)]
            ['86.84']
        """
        numbers = self.by_table.get((source, table), [])
        return [entry for entry in numbers if entry.has_values(**columns)]

    def select_like(self, like: PrintedNumber, *shared: str, **columns: str) -> list[PrintedNumber]:
        """Select the numbers of the table of `like` that share its values of some columns."""
        # `columns` may not repeat a shared one: that would ask for two values
        own = {name: getattr(like, name) for name in shared}
        return self.select_in_table(like.source, like.table, **own, **columns)

    def find_like(self, like: PrintedNumber, **changes: str) -> PrintedNumber | None:
        """Find the number that differs from `like` in nothing but `changes`."""
        return self.by_key.get(replace(like, **changes).key)

    def require_like(
        self, like: PrintedNumber, kinds: Sequence[str] = ("score",), **changes: str
    ) -> PrintedNumber:
        """Find as `find_like` does, the first of these kinds; a UserError where there is none."""
        # a baseline's number may be a score where the row's own is a summary
        for kind in kinds:
            if found := self.find_like(like, kind=kind, **changes):
                return found
        wanted = ", ".join(f"{name} {value}" for name, value in changes.items())
        raise UserError(
            f"{like.source}, Table {like.table}: no row with {wanted or 'absolute value'} goes "
            f"with {like.location}; add it to {REPORTED}."
        )

    def label(self, column: str, identity: str) -> str:
        """Look up the display name of an id; the id itself where there is none."""
        return self.labels.get(column, {}).get(identity, identity)


def read_paper_results(directory: Path = REPORTED) -> PaperResults:
    """Read every `*_results.csv` and `*_complexity.csv` of the directory, and the labels."""
    files = [*sorted(directory.glob("*_results.csv")), *sorted(directory.glob("*_complexity.csv"))]
    if not files:
        restore = "restore it: git checkout results/reported"
        raise UserError(f"No reported numbers in {directory}; {restore}")
    numbers = []
    for path in files:
        for row in read_csv_rows(path, PrintedNumber.__dataclass_fields__):
            numbers.append(PrintedNumber(**row))
    labels: dict[str, dict[str, str]] = {}
    for row in read_csv_rows(directory / LABELS, ("column", "id", "label")):
        labels.setdefault(row["column"], {})[row["id"]] = row["label"]
    return PaperResults(tuple(numbers), labels)
