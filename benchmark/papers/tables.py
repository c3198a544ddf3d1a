"""The papers' tables, reported beside measured."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.formats.files import read_csv_rows
from benchmark.leaderboard.notes import describe_scoring, split_notes
from benchmark.leaderboard.score_rows import leaderboard_rows
from benchmark.papers.audit.checks import Check
from benchmark.papers.audit.report import SAYS, audit_papers
from benchmark.papers.costs import NOTES as COST_NOTES
from benchmark.papers.costs import PublishedCost, measured_costs, read_published_costs
from benchmark.papers.measured import ANY_TABLE, MeasuredRuns, Subset
from benchmark.papers.model import SEPARATOR, PaperRow, PaperTable
from benchmark.papers.printed_numbers import (
    ABSOLUTE,
    REPORTED,
    PaperResults,
    PrintedNumber,
    read_paper_results,
)
from benchmark.records.groups import seed_groups
from benchmark.records.record import Record
from benchmark.records.selection import select_records

NOTES = "notes.csv"
RANKS = (
    "Bold is the best, underlined the second of a column within its block; reported and measured "
    "ranked apart."
)
LETTERS = "Letters mark cells of the audit, with the whole arithmetic in results/audit.md."
UNMEASURED = "Nothing of this table was measured with this suite yet (n: seeds measured)."
MEASURED = (
    "Measured: mean +- std over n seeds, difference: measured minus reported; a dash: not measured."
)
# what the papers' headings draw with signs outside ASCII
WORDS = str.maketrans({"\u2717": "no", "\u2713": "yes", "\u0394": "change of"})


def paper_tables_of_runs(runs: Path, audit: bool = True) -> list[PaperTable]:
    """Set all published tables beside what the records below RUNS, and the published ones, give."""
    results = read_paper_results()
    datasets = {number.dataset for number in results.numbers}
    selections = select_records(runs, datasets, required=False)
    return build_tables(results, MeasuredRuns(selections), read_published_costs(), audit)


def build_tables(
    results: PaperResults,
    runs: MeasuredRuns,
    costs: Sequence[PublishedCost] = (),
    audit: bool = True,
) -> list[PaperTable]:
    """Build all published tables in the order of the papers, `audit` with its letters and notes."""
    checks = audit_papers(results) if audit else []
    # a last digit that rounding explains is no doubt about a number
    checks = [c for c in checks if c.listed and c.kind != "rounding"]
    notes = read_csv_rows(REPORTED / NOTES, ("source", "table", "note"))
    tables = []
    for (source, name), numbers in results.by_table.items():
        # numbers that stand in a paper's text belong to no table
        if name.startswith("Sec. "):
            continue
        rows = _rows(results, numbers, runs, costs)
        own = [check for check in checks if (check.paper, check.table) == (source, name)]
        marks, marked = _footnotes(own)
        texts = []
        for row in notes:
            if row["source"] == source and row["table"] in (name, ANY_TABLE):
                texts.append(row["note"])
        texts += [RANKS, *_measured_notes(rows, COST_NOTES.get((source, name), ""))]
        texts += _left_out_notes(numbers, runs)
        texts += [*([LETTERS] if marked else []), *_notes_without_cell(own)]
        # in the order of their first number
        columns = list(dict.fromkeys(heading_words(entry.paper_column) for entry in numbers))
        tables.append(PaperTable(source, name, columns, rows, marks, texts, marked))
    return tables


def heading_words(heading: str) -> str:
    """Write the signs of a paper's heading in words."""
    return heading.translate(WORDS)


def _rows(
    results: PaperResults,
    numbers: Sequence[PrintedNumber],
    runs: MeasuredRuns,
    costs: Sequence[PublishedCost],
) -> list[PaperRow]:
    by_row: dict[str, list[PrintedNumber]] = {}
    methods: dict[str, set[str]] = {}
    for number in numbers:
        heading = heading_words(number.paper_row)
        by_row.setdefault(heading, []).append(number)
        methods.setdefault(heading.partition(SEPARATOR)[0], set()).add(number.method)
    rows = []
    for heading, members in by_row.items():
        head, _, rest = heading.partition(SEPARATOR)
        # a heading over several methods is a block; one method's backbone or input is its row's
        block, name = (head, rest) if rest and len(methods[head]) > 1 else ("", heading)
        printed: dict[str, PrintedNumber] = {}
        differences: dict[str, PrintedNumber] = {}
        subsets = {}
        for number in members:
            column = heading_words(number.paper_column)
            # a cell of a paper may hold a score and, in brackets, a difference
            (printed if number.kind in ABSOLUTE else differences)[column] = number
            if number.kind == "summary":
                shared = ("dataset", "backbone", "method", "variant", "metric")
                scores = results.select_like(number, *shared, kind="score")
                subsets[column] = frozenset(Subset(score.combo.split("+")) for score in scores)
        measured = [*runs.measure_row(printed, subsets), *measured_costs(printed, costs)]
        rows.append(PaperRow(block, name, printed, differences, measured))
    return rows


def _footnotes(checks: Sequence[Check]) -> tuple[dict[tuple[str, ...], str], dict[str, str]]:
    """Give each rule a letter: letters by number, and by letter the rule with all its numbers."""
    letters: dict[str, str] = {}
    marks: dict[tuple[str, ...], str] = {}
    places: dict[str, list[str]] = {}
    for check in checks:
        if number := check.number:
            letter = letters.setdefault(check.rule, chr(ord("a") + len(letters)))
            before = marks.get(number.key, "")
            marks[number.key] = before if letter in before else before + letter
            place = f"{heading_words(number.paper_row)}, {heading_words(number.paper_column)}"
            text = f"{place}: {check.printed} beside {check.recomputed}"
            places.setdefault(check.rule, []).append(text)
    marked = {}
    for rule, texts in places.items():
        what = "Printed beside what the rule gives or compares with"
        marked[letters[rule]] = f"{SAYS[rule]} {what}: {'; '.join(texts)}."
    return marks, marked


def _notes_without_cell(checks: Sequence[Check]) -> list[str]:
    """Say what the audit finds about sentences and whole tables."""
    notes = []
    for check in checks:
        if check.number is None:
            place = check.location.removeprefix("text=") if check.rule == "claim" else "whole table"
            notes.append(f"Audit, {place}: {check.arithmetic}.")
    return notes


def _measured_notes(rows: Sequence[PaperRow], cost_note: str) -> list[str]:
    """Say what the measured numbers of a table mean, per dataset; `cost_note` is for counts."""
    entries = [entry for row in rows for entry in row.measured]
    # counted costs belong to no record
    notes = [cost_note] if any(not entry.records for entry in entries) else []
    by_data: dict[str, dict[str, Record]] = {}
    for entry in entries:
        for identity, record in entry.records.items():
            by_data.setdefault(record.manifest.data, {})[identity] = record
    if not by_data:
        return notes or [UNMEASURED]
    notes.append(MEASURED)
    for data, members in by_data.items():
        board = leaderboard_rows(seed_groups(list(members.values())))
        notes.append(f"Measured on {data}: {describe_scoring(board)}.{split_notes(board)}")
    return notes


def _left_out_notes(numbers: Sequence[PrintedNumber], runs: MeasuredRuns) -> list[str]:
    notes = []
    for data in dict.fromkeys(number.dataset for number in numbers):
        if data in runs.selections and (texts := runs.selections[data].skipped):
            notes.append(f"Left out of what was measured on {data}: {' '.join(texts)}")
    return notes
