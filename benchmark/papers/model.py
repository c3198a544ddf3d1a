"""Rows and tables of a paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

from benchmark.papers.measured import Measured
from benchmark.papers.printed_numbers import PrintedNumber

SEPARATOR = " / "  # between the levels of a paper's headings in paper_row and paper_column


@dataclass(frozen=True)
class Row:
    """A row of a published table.

    Attributes:
        block: the heading that it stands under, empty without one.
        name: its own heading.
        cells, differences: printed numbers by column; a cell of the paper may hold one of each.
        measured: what this suite measured, one entry per protocol.
    """

    block: str
    name: str
    cells: dict[str, PrintedNumber]
    differences: dict[str, PrintedNumber]
    measured: list[Measured] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """A published table, what was measured of it, and its footnotes.

    Attributes:
        doubts: marks (`a`, `b`, ...) by the key of a cell.
        notes: footnotes without a mark; marked: footnotes by mark.
    """

    source: str
    number: str
    columns: list[str]
    rows: list[Row]
    doubts: dict[tuple[str, ...], str]
    notes: list[str]
    marked: dict[str, str]

    @property
    def blocks(self) -> list[list[Row]]:
        """Consecutive rows under one heading."""
        return [list(rows) for _, rows in groupby(self.rows, key=lambda row: row.block)]

    @property
    def stem(self) -> str:
        """Name of its files."""
        return f"{self.source}_{self.number}"
