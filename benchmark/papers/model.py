"""Rows and tables of a paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

from benchmark.papers.measured import Measured
from benchmark.papers.printed_numbers import PrintedNumber

SEPARATOR = " / "  # between the levels of a paper's headings in paper_row and paper_column


@dataclass(frozen=True)
class PaperRow:
    """A row of a published table.

    Attributes:
        block: the heading that it stands under, empty without one.
        name: its own heading.
        printed, differences: numbers by column; a cell of the paper may hold one of each.
        measured: what this suite measured, one entry per protocol.
    """

    block: str
    name: str
    printed: dict[str, PrintedNumber]
    differences: dict[str, PrintedNumber]
    measured: list[Measured] = field(default_factory=list)


@dataclass(frozen=True)
class PaperTable:
    """A published table, what was measured of it, and its footnotes.

    Attributes:
        marks: letters of footnotes (`a`, `ab`, ...) by the key of a printed number.
        notes: footnotes without a letter.
        marked: footnotes by letter.
    """

    source: str
    number: str
    columns: list[str]
    rows: list[PaperRow]
    # by key, not by cell: a score and its difference share a cell
    marks: dict[tuple[str, ...], str]
    notes: list[str]
    marked: dict[str, str]

    @property
    def blocks(self) -> list[list[PaperRow]]:
        """Consecutive rows under one heading."""
        return [list(rows) for _, rows in groupby(self.rows, key=lambda row: row.block)]

    @property
    def stem(self) -> str:
        """Name of its files."""
        return f"{self.source}_{self.number}"
