"""A published table as CSV, Markdown and LaTeX."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.formats.files import write_texts
from benchmark.formats.latex import escape_latex, latex_page
from benchmark.formats.markdown import escape_markdown, markdown_rows
from benchmark.metrics.summaries import format_mean_std
from benchmark.papers.measured import Measured
from benchmark.papers.model import SEPARATOR, PaperRow, PaperTable
from benchmark.papers.printed_numbers import count_decimals, format_fraction

DASH = "-"
LARGER_IS_BETTER = "FPS"  # among costs


@dataclass(frozen=True)
class Markup:
    """How a format writes ranks (best, second), letters of footnotes, and names of our lines."""

    ranks: tuple[str, str]
    letters: str
    measured: str
    escape: Callable[[str], str]


MARKDOWN = Markup(("**{}**", "<u>{}</u>"), "<sup>{}</sup>", "*{}*", escape_markdown)
LATEX = Markup(
    (r"\textbf{{{}}}", r"\underline{{{}}}"), r"\textsuperscript{{{}}}", r"\quad {}", escape_latex
)


def write_paper_tables(directory: Path, tables: Sequence[PaperTable]) -> list[Path]:
    """Write `.csv`, `.md` and `.tex` of every table; return the paths."""
    contents = {}
    for table in tables:
        contents[f"{table.stem}.csv"] = format_csv(table)
        contents[f"{table.stem}.md"] = format_markdown(table)
        contents[f"{table.stem}.tex"] = format_latex(table)
    return write_texts(directory, contents)


def format_csv(table: PaperTable) -> str:
    """Write `reported`, `reported difference`, `measured`, `std`, `difference` of every row."""
    lines = []
    for row in table.rows:
        head = {"block": row.block, "row": row.name}
        lines += [head | line for line in _csv_lines(table, row)]
    columns = ["block", "row", "what", "protocol", "n", *table.columns, "audit"]
    frame = pd.DataFrame(lines, columns=columns)
    # nothing in the audit's column means nothing found, a dash elsewhere not measured
    frame["audit"] = frame["audit"].fillna("")
    return frame.fillna(DASH).to_csv(index=False, lineterminator="\n")


def _csv_lines(table: PaperTable, row: PaperRow) -> Iterator[dict[str, Any]]:
    for what, numbers in (("reported", row.printed), ("reported difference", row.differences)):
        line, audit = {"what": what, "protocol": "", "n": ""}, []
        for column, number in numbers.items():
            line[column] = number.value
            if number.key in table.marks:
                audit.append(f"{column}: {table.marks[number.key]}")
        if numbers:
            yield line | {"audit": "; ".join(audit)}
    if row.printed and not row.measured:
        yield {"what": "measured"}
        yield {"what": "difference"}
    for entry in row.measured:
        lines: dict[str, dict[str, str]] = {"measured": {}, "std": {}, "difference": {}}
        for column, (mean, std) in entry.values.items():
            # counts are exact, and the papers' units hide their last digits
            digits = 6 if row.printed[column].kind == "cost" else 4
            lines["measured"][column] = f"{mean:.{digits}f}"
            lines["std"][column] = DASH if np.isnan(std) else f"{std:.4f}"
            lines["difference"][column] = f"{_gap(row, entry, column):+z.{digits}f}"
        for what, values in lines.items():
            yield {"what": what, "protocol": entry.label, "n": _count_seeds(entry), **values}


def _count_seeds(entry: Measured) -> str:
    fewest_most = sorted({min(entry.seeds), max(entry.seeds)}) if entry.seeds else [DASH]
    return " to ".join(map(str, fewest_most))


def _gap(row: PaperRow, entry: Measured, column: str) -> float:
    """Measured minus reported, in the unit of the column."""
    return float(entry.values[column].mean - float(row.printed[column].value))


def _display_lines(
    table: PaperTable, block: Sequence[PaperRow], markup: Markup
) -> Iterator[list[str]]:
    """Format a block: name, a cell per column and n of what the paper prints and was measured."""
    ranks = _rank_block(block)

    def line(
        name: str, texts: Mapping[str, str], seeds: str, key: tuple[int, str], row: PaperRow | None
    ) -> list[str]:
        cells = []
        for column in table.columns:
            text = markup.escape(texts.get(column, DASH))
            if (rank := ranks.get((*key, column))) is not None:
                text = markup.ranks[rank].format(text)
            if row and (letters := _letters(table, row, column)):
                text += markup.letters.format(letters)
            cells.append(text)
        return [name, *cells, seeds]

    for place, row in enumerate(block):
        texts = {name: _printed_text(row, name) for name in {**row.printed, **row.differences}}
        seeds = DASH if row.printed and not row.measured else ""
        yield line(markup.escape(row.name), texts, seeds, (place, ""), row)
        for entry in row.measured:
            name = markup.measured.format(markup.escape(f"measured ({entry.label})"))
            texts = {column: format_mean_std(*value) for column, value in entry.values.items()}
            yield line(name, texts, _count_seeds(entry), (place, entry.label), None)
            texts = {column: f"{_gap(row, entry, column):+z.2f}" for column in entry.values}
            yield line(markup.measured.format("difference"), texts, "", (-1, ""), None)


def _printed_text(row: PaperRow, column: str) -> str:
    """Format a printed value; a difference in the same cell stands in brackets with its sign."""
    own, difference = row.printed.get(column), row.differences.get(column)
    if difference is None:
        return own.value if own else ""
    digits = count_decimals(difference.value)
    signed = format_fraction(difference.number.value, digits, sign=True)
    return f"{own.value} ({signed})" if own else signed


def _letters(table: PaperTable, row: PaperRow, column: str) -> str:
    letters: set[str] = set()
    for numbers in (row.printed, row.differences):
        if column in numbers:
            letters.update(table.marks.get(numbers[column].key, ""))
    return "".join(sorted(letters))


def _rank_block(block: Sequence[PaperRow]) -> dict[tuple[int, str, str], int]:
    """Find best (0) and second (1) by row, label of the runs (empty: the paper) and column."""
    columns: dict[tuple[str, str], dict[int, float]] = {}
    for place, row in enumerate(block):
        for column, number in row.printed.items():
            smaller = number.kind == "cost" and number.metric != LARGER_IS_BETTER
            sign = -1 if smaller else 1
            columns.setdefault(("", column), {})[place] = sign * float(number.value)
            for entry in row.measured:
                if column in entry.values:
                    values = columns.setdefault((entry.label, column), {})
                    # as printed: what looks equal shares a rank
                    values[place] = sign * round(entry.values[column].mean, 2)
    ranks = {}
    for (label, column), values in columns.items():
        numbers = [block[place].printed[column] for place in values]
        # rows that are inputs of one method are no rivals
        if len({(number.backbone, number.method, number.variant) for number in numbers}) > 1:
            top = sorted(set(values.values()), reverse=True)[:2]
            for place, value in values.items():
                if value in top:
                    ranks[place, label, column] = top.index(value)
    return ranks


def _all_notes(table: PaperTable, markup: Markup) -> list[str]:
    notes = list(map(markup.escape, table.notes))
    for letter, note in table.marked.items():
        notes.append(f"{markup.letters.format(letter)} {markup.escape(note)}")
    return notes


def _alignment(table: PaperTable) -> str:
    """Align names left and numbers right; a block's heading is a column of its own."""
    names = 2 if any(row.block for row in table.rows) else 1
    return "l" * names + "r" * (len(table.columns) + 1)


def format_markdown(table: PaperTable) -> str:
    """Write a GitHub table with its notes."""
    align, rows = _alignment(table), []
    names = align.count("l")
    for block in table.blocks:
        for line in _display_lines(table, block, MARKDOWN):
            rows.append([*[block[0].block] * (names - 1), *line])
    body = markdown_rows([*[""] * names, *table.columns, "n"], rows, align)
    return "\n\n".join([body, *_all_notes(table, MARKDOWN)]) + "\n"


def format_latex(table: PaperTable) -> str:
    """Write a booktabs tabular with its notes, to be read inside a plain article."""
    align, rows = _alignment(table), []
    names = align.count("l")
    for number, block in enumerate(table.blocks):
        for place, line in enumerate(_display_lines(table, block, LATEX)):
            heads = [escape_latex(block[0].block) if place == 0 else ""] * (names - 1)
            # pandas draws no line between rows, so that it goes into the first cell of a block
            rule = "\\midrule\n" if number and place == 0 else ""
            first, *rest = [*heads, *line]
            rows.append([rule + first, *rest])
    headings = [("", "")] * names
    for column in table.columns:
        group, _, name = column.rpartition(SEPARATOR)
        headings.append((escape_latex(group), escape_latex(name)))
    frame = pd.DataFrame(rows, columns=pd.MultiIndex.from_tuples([*headings, ("", "n")]))
    if not any(group for group, _ in headings):
        frame = frame.droplevel(0, axis=1)
    return latex_page(frame, align, _all_notes(table, LATEX))
