"""The columns of the leaderboard, and its rows as CSV and as readers see them.

A new column is a line in `COLUMNS`. One method, two seeds, subsets R and D with mIoU 60 and 20 in
the first seed, 70 and 40 in the second:

    Average of each seed     40, 55         so 47.50 +- 10.61
    Top-1 of each seed       60, 70         so 65.00 +- 7.07, and R is the best of the mean (65, 30)
    mIoU R                   60, 70         so 65.00 +- 7.07
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.formats.numbers import format_mean_std
from benchmark.leaderboard.notes import split_mark
from benchmark.leaderboard.score_rows import ScoreRow
from benchmark.metrics.result import ALL
from benchmark.metrics.summaries import MeanStd, mean_std

EACH = "{subset}"


def always(rows: Sequence[ScoreRow]) -> bool:
    """Show a column in every table."""
    return True


def with_conditions(rows: Sequence[ScoreRow]) -> bool:
    """Show a column where rows are told apart by the condition of the test scenes."""
    return any(row.condition != ALL for row in rows)


def with_overrides(rows: Sequence[ScoreRow]) -> bool:
    """Show a column where something was changed on the command line."""
    return any(row.group.overrides for row in rows)


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard; `{subset}` in its names makes one for every subset.

    Attributes:
        name: in CSV; `<name> std` follows a mean over seeds.
        source: its value in a row.
        heading: for readers (Markdown, LaTeX, terminal, report); empty: only in CSV.
        subset: a subset to be named in brackets, in CSV as `<name> subset`.
        text: what readers see, `{value}` of this row.
        shown: in which tables.
    """

    name: str
    source: Callable[[ScoreRow], Any]
    heading: str = ""
    subset: Callable[[ScoreRow], str] | None = None
    text: str = "{value}"
    shown: Callable[[Sequence[ScoreRow]], bool] = always

    def values(self, row: ScoreRow) -> dict[str, Any]:
        """Compute the value, by subset where the column stands for all of them."""
        value = self.source(row)
        if EACH not in self.name:
            return {"": value}
        values = map(MeanStd._make, zip(*value, strict=True)) if is_mean(value) else value
        return dict(zip(row.subsets, values, strict=True))

    def parts(self, row: ScoreRow, value: Any) -> dict[str, Any]:
        """Write a value as CSV columns, by the ending of their names."""
        parts = {"": value.mean, " std": value.std} if is_mean(value) else {"": value}
        return parts | ({" subset": self.subset(row)} if self.subset else {})

    def format_value(self, row: ScoreRow, value: Any, decimals: int = 2, sign: str = " +- ") -> str:
        """Write a value for readers."""
        text = (
            format_mean_std(value.mean, value.std, decimals, sign) if is_mean(value) else str(value)
        )
        text = self.text.format(value=text, row=row, mark=split_mark(row))
        return f"{text} ({self.subset(row)})" if self.subset else text


def is_mean(value: Any) -> bool:
    """Whether a value is a mean over seeds."""
    return isinstance(value, MeanStd)


COLUMNS = (
    Column("method", lambda row: row.group.method, "method", text="{row.group.marked_method}"),
    Column("backbone", lambda row: row.group.first.manifest.backbone, "backbone"),
    Column("condition", lambda row: row.condition, "condition", shown=with_conditions),
    Column("scenes", lambda row: max(row.scenes), "scenes", shown=with_conditions),
    Column("classes", lambda row: row.classes, "classes", shown=with_conditions),
    Column("Average", lambda row: mean_std(row.summary.average), "Average"),
    Column("Top-1", lambda row: mean_std(row.summary.top1), "Top-1", subset=lambda row: row.best),
    Column(
        "Last-1", lambda row: mean_std(row.summary.last1), "Last-1", subset=lambda row: row.worst
    ),
    Column("mIoU {subset}", lambda row: mean_std(row.miou), EACH),
    Column("mF1 {subset}", lambda row: mean_std(row.mf1)),
    Column("OA full", lambda row: row.oa[:, -1].mean()),
    Column("OA all labels full", lambda row: row.oa_all[:, -1].mean()),
    Column("seeds", lambda row: len(row.group.members), "n"),
    Column(
        "protocol",
        lambda row: row.group.protocol,
        "protocol",
        text="{value}{mark}, {row.group.first.manifest.protocol.selected}",
    ),
    Column("overrides", lambda row: row.group.overrides, "overrides", shown=with_overrides),
    Column("K", lambda row: len(row.group.first.convention.outputs)),
    Column("scenes {subset}", lambda row: row.scenes),
    Column("split note", lambda row: row.group.first.manifest.protocol.split_note),
    Column("selection", lambda row: row.group.first.manifest.protocol.selected),
    Column("control", lambda row: row.group.first.manifest.control),
)


def leaderboard_frame(rows: Sequence[ScoreRow]) -> pd.DataFrame:
    """Write every column of every row; scores in per cent, seeds as mean and std (ddof 1).

    Example:
        >>> from pathlib import Path
        >>> from benchmark.leaderboard.score_rows import leaderboard_rows
        >>> from benchmark.records.groups import seed_groups
        >>> from benchmark.records.record import search_records
        >>> records, _ = search_records([Path("results/records/dfc2023_miniature")])
        >>> frame = leaderboard_frame(leaderboard_rows(seed_groups(records)))
        >>> frame[["method", "Average", "Top-1 subset"]].round(1).to_dict("records")
        [{'method': 'sgma', 'Average': 70.3, 'Top-1 subset': 'R+D+S'}]
    """
    lines = []
    for row in rows:
        line: dict[str, Any] = {}
        for column in COLUMNS:
            for subset, value in column.values(row).items():
                name = column.name.format(subset=subset)
                line |= {name + end: part for end, part in column.parts(row, value).items()}
        lines.append(line)
    return pd.DataFrame(lines)


def reader_cells(rows: Sequence[ScoreRow], row: ScoreRow) -> Mapping[str, tuple[Column, Any]]:
    """The column and value of every cell that readers see in a row, by heading."""
    cells = {}
    for column in COLUMNS:
        if column.heading and column.shown(rows):
            for subset, value in column.values(row).items():
                cells[column.heading.format(subset=subset)] = (column, value)
    return cells


def format_leaderboard(
    rows: Sequence[ScoreRow], decimals: int = 2, sign: str = " +- "
) -> pd.DataFrame:
    """Write the rows as people read them: `mean +- std` in one cell."""
    lines = []
    for row in rows:
        cells = reader_cells(rows, row).items()
        lines.append(
            {name: c.format_value(row, value, decimals, sign) for name, (c, value) in cells}
        )
    return pd.DataFrame(lines)
