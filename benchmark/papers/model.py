"""Rows and tables of a paper."""

from dataclasses import dataclass, field
from itertools import groupby

from benchmark.papers.measured import Measured
from benchmark.papers.printed_numbers import PrintedNumber

SEPARATOR = " / "  # between the levels of a paper's headings in paper_row and paper_column


@dataclass(frozen=True)
class PaperRow:
    """A row of a published table."""

    block: str  # the heading that it stands under, empty without one
    name: str  # its own heading
    printed: dict[str, PrintedNumber]  # by column
    differences: dict[str, PrintedNumber]  # by column; a cell may hold one of each
    measured: list[Measured] = field(default_factory=list)  # one entry per protocol


@dataclass(frozen=True)
class PaperTable:
    """A published table, what was measured of it, and its footnotes."""

    source: str
    number: str
    columns: list[str]
    rows: list[PaperRow]
    # letters of footnotes (`a`, `ab`) by key, not by cell: a score and its difference share a cell
    marks: dict[tuple[str, ...], str]
    notes: list[str]  # footnotes without a letter
    marked: dict[str, str]  # footnotes by letter

    @property
    def blocks(self) -> list[list[PaperRow]]:
        """Consecutive rows under one heading."""
        return [list(rows) for _, rows in groupby(self.rows, key=lambda row: row.block)]

    @property
    def stem(self) -> str:
        """Name of its files."""
        return f"{self.source}_{self.number}"
