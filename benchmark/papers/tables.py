"""`imss tables`: the papers' tables, reported beside measured, in results/tables as CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmark.leaderboard.notes import conventions, split_notes
from benchmark.leaderboard.table import leaderboard
from benchmark.papers.audit.checks import Check
from benchmark.papers.audit.report import SAYS, audit_papers
from benchmark.papers.costs import NOTES as COST_NOTES
from benchmark.papers.costs import PublishedCost, measured_costs
from benchmark.papers.measured import ANY, Runs, measure
from benchmark.papers.model import SEPARATOR, Row, Table
from benchmark.papers.printed_numbers import (
    ABSOLUTE,
    REPORTED,
    PaperResults,
    PrintedNumber,
    read_csv_rows,
)
from benchmark.records.record import Record

NOTES = "notes.csv"
RANKS = "Bold is the best, underlined the second of a column within its block; reported and measured ranked apart."
LETTERS = "Letters mark cells of the audit, with the whole arithmetic in results/audit.md."
# what the papers' headings draw with signs outside ASCII
WORDS = {"\u2717": "no", "\u2713": "yes", "\u0394": "change of"}


def build_tables(
    reported: PaperResults,
    runs: Runs,
    costs: Sequence[PublishedCost] = (),
    directory: Path = REPORTED,
) -> list[Table]:
    """All published tables with rows and columns in the order of the papers; what stands in the text has none."""
    checks = [
        check for check in audit_papers(reported) if check.listed and check.kind != "rounding"
    ]
    notes = read_csv_rows(directory / NOTES, ("source", "table", "note"))
    tables = []
    for (source, number), cells in reported.by_table.items():
        if number.startswith("Sec. "):
            continue
        rows = _rows(cells, runs, costs)
        own = [check for check in checks if (check.paper, check.table) == (source, number)]
        doubts, marked = _doubts(own)
        texts = [
            row["note"]
            for row in notes
            if row["source"] == source and row["table"] in (number, ANY)
        ]
        cost_note = COST_NOTES.get((source, number), "")
        texts += [RANKS, *_measured_notes(rows, cost_note), *_left_out(cells, runs)]
        texts += [*([LETTERS] if marked else []), *_sentences(own)]
        columns = list(dict.fromkeys(plain(cell.paper_column) for cell in cells))
        tables.append(Table(source, number, columns, rows, doubts, texts, marked))
    return tables


def plain(heading: str) -> str:
    """A heading of a paper with its signs in words."""
    for sign, word in WORDS.items():
        heading = heading.replace(sign, word)
    return heading


def _rows(cells: Sequence[PrintedNumber], runs: Runs, costs: Sequence[PublishedCost]) -> list[Row]:
    by_row: dict[str, list[PrintedNumber]] = {}
    for cell in cells:
        by_row.setdefault(plain(cell.paper_row), []).append(cell)
    heads: dict[str, set[str]] = {}
    for heading, members in by_row.items():
        heads.setdefault(heading.partition(SEPARATOR)[0], set()).update(
            cell.method for cell in members
        )
    rows = []
    for heading, members in by_row.items():
        head, _, rest = heading.partition(SEPARATOR)
        # a heading over several methods is a block; one method's backbone or input belongs to the row
        block, name = (head, rest) if rest and len(heads[head]) > 1 else ("", heading)
        own = {plain(cell.paper_column): cell for cell in members if cell.kind in ABSOLUTE}
        differences = {
            plain(cell.paper_column): cell for cell in members if cell.kind not in ABSOLUTE
        }
        subsets = {
            column: _subsets(cells, cell) for column, cell in own.items() if cell.kind == "summary"
        }
        measured = [*measure(own, subsets, runs), *measured_costs(own, costs)]
        rows.append(Row(block, name, own, differences, measured))
    return rows


def _subsets(cells: Iterable[PrintedNumber], cell: PrintedNumber) -> frozenset[frozenset[str]]:
    """The subsets that the paper prints for the cell's configuration."""
    columns = {
        name: getattr(cell, name) for name in ("dataset", "backbone", "method", "variant", "metric")
    }
    return frozenset(
        frozenset(one.combo.split("+")) for one in cells if one.has(kind="score", **columns)
    )


def _doubts(checks: Sequence[Check]) -> tuple[dict[tuple[str, ...], str], dict[str, str]]:
    """Marks by cell, and the footnote of each mark: the rule, then every cell that it lists."""
    rules = list(dict.fromkeys(check.rule for check in checks if check.number))
    marks = dict(zip(rules, "abcdefghijklmnopqrstuvwxyz", strict=False))
    doubts: dict[tuple[str, ...], str] = {}
    marked: dict[str, str] = {}
    for rule, mark in marks.items():
        parts = []
        for check in checks:
            if check.rule == rule and check.number:
                if mark not in doubts.get(check.number.key, ""):
                    doubts[check.number.key] = doubts.get(check.number.key, "") + mark
                place = f"{plain(check.number.paper_row)}, {plain(check.number.paper_column)}"
                parts.append(f"{place}: {check.printed} beside {check.recomputed}")
        marked[mark] = (
            f"{SAYS[rule]} Printed beside what the rule gives or compares with: {'; '.join(parts)}."
        )
    return doubts, marked


def _sentences(checks: Sequence[Check]) -> list[str]:
    """Findings about sentences and whole tables."""
    notes = []
    for check in checks:
        if check.number is None:
            place = check.location.removeprefix("text=") if check.rule == "claim" else "whole table"
            notes.append(f"Audit, {place}: {check.arithmetic}.")
    return notes


def _measured_notes(rows: Sequence[Row], cost_note: str) -> list[str]:
    """What the measured numbers of a table mean, per dataset; what counts mean stands in `cost_note`."""
    records = {
        key: record
        for row in rows
        for entry in row.measured
        for key, record in entry.records.items()
    }
    by_data: dict[str, list[Record]] = {}
    for record in records.values():
        by_data.setdefault(record.manifest["data"], []).append(record)
    notes = [cost_note] if any(not entry.records for row in rows for entry in row.measured) else []
    if not by_data:
        return notes or [
            "Nothing of this table was measured with this suite yet (n: seeds measured)."
        ]
    notes += [
        "Measured: mean +- std over n seeds, difference: measured minus reported; a dash: not measured."
    ]
    for data, members in by_data.items():
        board = leaderboard(members)
        notes.append(f"Measured on {data}: {conventions(board, members)}.{split_notes(board)}")
    return notes


def _left_out(cells: Iterable[PrintedNumber], runs: Runs) -> list[str]:
    """Records of the table's datasets that could not be read or mixed with the others."""
    return [
        f"Left out of what was measured on {data}: {' '.join(runs.left_out[data])}"
        for data in dict.fromkeys(cell.dataset for cell in cells)
        if runs.left_out.get(data)
    ]
