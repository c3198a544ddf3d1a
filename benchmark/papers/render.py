"""A published table as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.formats.markdown_latex import latex_text
from benchmark.formats.numbers import format_mean_std
from benchmark.papers.measured import Measured
from benchmark.papers.model import SEPARATOR, Row, Table
from benchmark.papers.printed_numbers import count_decimals, format_fraction

DASH = "-"
LARGER_IS_BETTER = "FPS"  # among costs
STYLES = {
    "best": ("**{}**", r"\textbf{{{}}}"),
    "second": ("<u>{}</u>", r"\underline{{{}}}"),
    "": ("{}", "{}"),
}


@dataclass(frozen=True)
class Line:
    """A line of a table as people read it.

    Attributes:
        texts, ranks, marks: by column; the text of a cell, `best`, `second` or nothing, and the marks of its footnotes.
        measured: a line of ours, below the paper's own.
    """

    name: str
    texts: dict[str, str]
    ranks: dict[str, str]
    marks: dict[str, str]
    seeds: str
    measured: bool = False


def as_csv(table: Table) -> str:
    """Lines `reported`, `reported difference`, `measured`, `std` and `difference` for every row of the paper."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["block", "row", "what", "protocol", "n", *table.columns, "audit"])
    for row in table.rows:
        for what, protocol, seeds, values in _csv_lines(row):
            cells = [values.get(column, DASH) for column in table.columns]
            printed = {"reported": row.cells, "reported difference": row.differences}.get(what, {})
            doubts = [
                f"{column}: {table.doubts[cell.key]}"
                for column, cell in printed.items()
                if cell.key in table.doubts
            ]
            writer.writerow([row.block, row.name, what, protocol, seeds, *cells, "; ".join(doubts)])
    return stream.getvalue()


def _csv_lines(row: Row) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    for what, printed in (("reported", row.cells), ("reported difference", row.differences)):
        if printed:
            yield what, "", "", {column: cell.value for column, cell in printed.items()}
    if row.cells and not row.measured:
        yield "measured", DASH, DASH, {}
        yield "difference", DASH, DASH, {}
    for entry in row.measured:
        own = (entry.label, _seeds(entry))
        digits = {column: 6 if row.cells[column].kind == "cost" else 4 for column in entry.values}
        yield (
            "measured",
            *own,
            {column: f"{mean:.{digits[column]}f}" for column, (mean, _) in entry.values.items()},
        )
        spread = {column: std for column, (_, std) in entry.values.items()}
        yield (
            "std",
            *own,
            {column: f"{std:.4f}" for column, std in spread.items() if not np.isnan(std)},
        )
        yield (
            "difference",
            *own,
            {column: f"{gap:+.{digits[column]}f}" for column, gap in _gaps(row, entry).items()},
        )


def _seeds(entry: Measured) -> str:
    return (
        " to ".join(map(str, sorted({min(entry.seeds), max(entry.seeds)}))) if entry.seeds else DASH
    )


def _gaps(row: Row, entry: Measured) -> dict[str, float]:
    """Measured minus reported, in the unit of the column."""
    return {
        column: mean - float(row.cells[column].number.value)
        for column, (mean, _) in entry.values.items()
    }


def lines(table: Table, block: Sequence[Row]) -> list[Line]:
    """The lines of a block: what the paper prints, and below it what was measured."""
    reported = _reported_ranks(block)
    measured = _measured_ranks(block)
    result = []
    for number, row in enumerate(block):
        columns = [
            column for column in table.columns if column in row.cells or column in row.differences
        ]
        result.append(
            Line(
                row.name,
                {column: _printed(row, column) for column in columns},
                {column: reported.get((number, column), "") for column in columns},
                {column: _marks(table, row, column) for column in columns},
                DASH if row.cells and not row.measured else "",
            )
        )
        for entry in row.measured:
            means = {
                column: format_mean_std(mean, std) for column, (mean, std) in entry.values.items()
            }
            ranks = {column: measured.get((number, entry.label, column), "") for column in means}
            result.append(
                Line(f"measured ({entry.label})", means, ranks, {}, _seeds(entry), measured=True)
            )
            gaps = {column: f"{gap:+.2f}" for column, gap in _gaps(row, entry).items()}
            result.append(Line("difference", gaps, {}, {}, "", measured=True))
    return result


def _printed(row: Row, column: str) -> str:
    """The printed value; a difference in the same cell stands in brackets with its sign."""
    cell, difference = row.cells.get(column), row.differences.get(column)
    signed = (
        format_fraction(difference.number.value, count_decimals(difference.value), sign=True)
        if difference
        else ""
    )
    if cell is None:
        return signed
    return f"{cell.value} ({signed})" if difference else cell.value


def _marks(table: Table, row: Row, column: str) -> str:
    cells = (printed[column] for printed in (row.cells, row.differences) if column in printed)
    return "".join(sorted({mark for cell in cells for mark in table.doubts.get(cell.key, "")}))


def _reported_ranks(block: Sequence[Row]) -> dict[tuple[int, str], str]:
    """Best and second of every column among the paper's rows; none where all rows are of one method."""
    columns: dict[str, dict[int, float]] = {}
    for number, row in enumerate(block):
        for column, cell in row.cells.items():
            sign = -1 if _smaller_is_better(row, column) else 1
            columns.setdefault(column, {})[number] = sign * float(cell.value)
    result: dict[tuple[int, str], str] = {}
    for column, values in columns.items():
        cells = [block[number].cells[column] for number in values]
        if len({(cell.backbone, cell.method, cell.variant) for cell in cells}) > 1:
            result |= {(number, column): rank for number, rank in _ranks(values).items()}
    return result


def _smaller_is_better(row: Row, column: str) -> bool:
    cell = row.cells[column]
    return cell.kind == "cost" and cell.metric != LARGER_IS_BETTER


def _measured_ranks(block: Sequence[Row]) -> dict[tuple[int, str, str], str]:
    """Best and second among what was measured under one label."""
    columns: dict[tuple[str, str], dict[int, float]] = {}
    for number, row in enumerate(block):
        for entry in row.measured:
            for column, (mean, _) in entry.values.items():
                sign = -1 if _smaller_is_better(row, column) else 1
                columns.setdefault((entry.label, column), {})[number] = sign * round(mean, 2)
    return {
        (number, *key): rank
        for key, values in columns.items()
        if len(values) > 1
        for number, rank in _ranks(values).items()
    }


def _ranks(values: Mapping[int, float]) -> dict[int, str]:
    """`best` for all that share the largest value, `second` for all that share the next."""
    top = sorted(set(values.values()), reverse=True)[:2]
    names = dict(zip(top, ("best", "second"), strict=False))
    return {number: names[value] for number, value in values.items() if value in names}


def as_markdown(table: Table) -> str:
    """A GitHub table; a block's heading is a column of its own."""
    named = any(row.block for row in table.rows)
    head = ([""] if named else []) + ["", *table.columns, "n"]
    aligned = ["---"] * (len(head) - len(table.columns) - 1) + ["---:"] * (len(table.columns) + 1)
    rows = [head, aligned]
    for block in table.blocks:
        for line in lines(table, block):
            name = f"*{line.name}*" if line.measured else line.name
            cells = [_styled(line, column, latex=False) for column in table.columns]
            rows.append(([block[0].block] if named else []) + [name, *cells, line.seeds])
    body = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    notes = [*table.notes, *(f"<sup>{mark}</sup> {note}" for mark, note in table.marked.items())]
    return f"{body}\n\n" + "\n\n".join(notes) + "\n"


def _styled(line: Line, column: str, latex: bool) -> str:
    """A cell with its rank and its marks; a dash where the line has nothing."""
    if column not in line.texts:
        return DASH
    text = latex_text(line.texts[column]) if latex else line.texts[column]
    styled = STYLES[line.ranks.get(column, "")][latex].format(text)
    superscript = r"\textsuperscript{{{}}}" if latex else "<sup>{}</sup>"
    return styled + (superscript.format(line.marks[column]) if line.marks.get(column) else "")


def as_latex(table: Table) -> str:
    """A booktabs tabular with its notes; compiles inside a plain article with `\\usepackage{booktabs}`."""
    named = any(row.block for row in table.rows)
    left = 2 if named else 1
    parts = [
        r"% needs \usepackage{booktabs}",
        r"\begingroup\footnotesize\setlength{\tabcolsep}{3pt}\noindent",
        r"\begin{tabular}{" + "l" * left + "r" * (len(table.columns) + 1) + "}",
        r"\toprule",
        *_latex_head(table, left),
    ]
    for block in table.blocks:
        parts.append(r"\midrule")
        heading = block[0].block
        for line in lines(table, block):
            name = r"\quad " + latex_text(line.name) if line.measured else latex_text(line.name)
            cells = [_styled(line, column, latex=True) for column in table.columns]
            parts.append(
                " & ".join([*([latex_text(heading)] if named else []), name, *cells, line.seeds])
                + r" \\"
            )
            heading = ""
    parts += [r"\bottomrule", r"\end{tabular}", "", r"\smallskip"]
    for note in table.notes:
        parts += [r"\noindent " + latex_text(note), ""]
    for mark, note in table.marked.items():
        parts += [rf"\noindent \textsuperscript{{{mark}}} " + latex_text(note), ""]
    return "\n".join([*parts, r"\endgroup", ""])


def _latex_head(table: Table, left: int) -> list[str]:
    """One line of headings, or two where the paper groups its columns."""
    pairs = [column.rpartition(SEPARATOR) for column in table.columns]
    below = " & ".join([*[""] * left, *(latex_text(name) for *_, name in pairs), "n"]) + r" \\"
    groups: list[tuple[str, int]] = []
    for group, *_ in pairs:
        groups = (
            [*groups[:-1], (group, groups[-1][1] + 1)]
            if groups and groups[-1][0] == group
            else [*groups, (group, 1)]
        )
    if not any(group for group, _ in groups):
        return [below]
    above, rules, start = [""] * left, [], left + 1
    for group, width in groups:
        above.append(rf"\multicolumn{{{width}}}{{c}}{{{latex_text(group)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    return [" & ".join([*above, ""]) + r" \\", " ".join(rules), below]
