"""The columns of the leaderboard, and its rows as CSV and as readers see them.

A new column is a line in `COLUMNS`. One method, two seeds, subsets R and D with mIoU 60 and 20 in
the first seed, 70 and 40 in the second:

    Average of each seed     40, 55         so 47.50 +- 10.61
    Top-1 of each seed       60, 70         so 65.00 +- 7.07, and R is the best of the mean (65, 30)
    mIoU R                   60, 70         so 65.00 +- 7.07
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import pandas as pd

from benchmark.leaderboard.score_rows import ScoreRow
from benchmark.metrics.result import ALL
from benchmark.metrics.summaries import MeanStd, format_mean_std, mean_std

EACH = "{subset}"


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard; `{subset}` in its names makes one for every subset."""

    name: str  # in CSV; `<name> std` follows a mean over seeds
    source: Callable[[ScoreRow], Any]  # its value in a row
    heading: str = ""  # for readers (Markdown, LaTeX, terminal, report); empty: only in CSV
    subset: Callable[[ScoreRow], str] | None = None  # named in brackets, in CSV `<name> subset`
    text: str = "{value}"  # what readers see of `{value}` in this `{row}`
    needed: Callable[[ScoreRow], Any] = bool  # readers see the column if this holds for any row
    over_all: bool = False  # speaks of all subsets: no column where a protocol scores some

    def values_by_subset(self, row: ScoreRow) -> dict[str, Any]:
        """Compute the value, by subset where the column stands for all of them."""
        value = self.source(row)
        if EACH not in self.name:
            return {"": value}
        if isinstance(value, MeanStd):
            value = map(MeanStd._make, zip(*value, strict=True))
        return dict(zip(row.subsets, value, strict=True))

    def csv_parts(self, row: ScoreRow, value: Any) -> dict[str, Any]:
        """Write a value as CSV columns, by the ending of their names."""
        parts = {"": value.mean, " std": value.std} if isinstance(value, MeanStd) else {"": value}
        return parts | ({" subset": self.subset(row)} if self.subset else {})

    def format_value(self, row: ScoreRow, value: Any, decimals: int = 2, sign: str = " +- ") -> str:
        """Write a value for readers."""
        text = str(value)
        if isinstance(value, MeanStd):
            text = format_mean_std(value.mean, value.std, decimals, sign)
        text = self.text.format(value=text, row=row)
        subset = self.subset(row) if self.subset else ""
        return f"{text} ({subset})" if subset else text


def _has_condition(row: ScoreRow) -> bool:
    return row.condition != ALL


_overrides = attrgetter("group.overrides")
_scale = attrgetter("group.manifest.scale")
COLUMNS = (
    Column("method", lambda row: row.group.method, "method", text="{row.group.marked_method}"),
    Column("backbone", lambda row: row.group.manifest.backbone, "backbone"),
    Column("condition", lambda row: row.condition, "condition", needed=_has_condition),
    Column("scenes", lambda row: max(row.scenes), "scenes", needed=_has_condition),
    Column("classes", lambda row: row.classes, "classes", needed=_has_condition),
    Column("Average", lambda row: mean_std(row.summary.average), "Average", over_all=True),
    Column(
        *("Top-1", lambda row: mean_std(row.summary.top1), "Top-1"),
        subset=lambda row: row.best_worst[0],
        over_all=True,
    ),
    Column(
        *("Last-1", lambda row: mean_std(row.summary.last1), "Last-1"),
        subset=lambda row: row.best_worst[1],
        over_all=True,
    ),
    Column("mIoU {subset}", lambda row: mean_std(row.miou), EACH),
    Column("mF1 {subset}", lambda row: mean_std(row.mf1)),
    Column("OA full", lambda row: row.oa[:, -1].mean(), over_all=True),
    Column("OA all labels full", lambda row: row.oa_all[:, -1].mean(), over_all=True),
    Column("seeds", lambda row: len(row.group.members), "n"),
    Column("protocol", lambda row: row.protocol.name, "protocol", text="{row.protocol.label}"),
    Column("scale", _scale, "scale", needed=lambda row: _scale(row) != "paper"),
    Column("overrides", _overrides, "overrides", needed=_overrides),
    Column("K", lambda row: len(row.group.first.convention.outputs)),
    Column("scenes {subset}", lambda row: row.scenes),
    Column("split note", lambda row: row.protocol.split_note),
    Column("selection", lambda row: row.protocol.selected),
    Column("control", lambda row: row.group.manifest.control),
)


def columns_of(rows: Sequence[ScoreRow]) -> list[Column]:
    """Leave the columns out that speak of all subsets where a row has some of them only."""
    some = any(row.group.manifest.scores_some for row in rows)
    return [column for column in COLUMNS if not (some and column.over_all)]


def leaderboard_frame(rows: Sequence[ScoreRow]) -> pd.DataFrame:
    """Write every column of every row; scores in per cent, seeds as mean and std (ddof 1)."""
    # as wide as the data: subsets have columns of their own, which spreadsheets and pandas read
    lines = []
    for row in rows:
        line: dict[str, Any] = {}
        for column in columns_of(rows):
            for subset, value in column.values_by_subset(row).items():
                name = column.name.format(subset=subset)
                line |= {name + end: part for end, part in column.csv_parts(row, value).items()}
        lines.append(line)
    return pd.DataFrame(lines)


def reader_cells(rows: Sequence[ScoreRow], row: ScoreRow) -> Mapping[str, tuple[Column, Any]]:
    """Find column and value of every cell that readers see in a row, by heading."""
    cells = {}
    for column in columns_of(rows):
        if column.heading and any(map(column.needed, rows)):
            for subset, value in column.values_by_subset(row).items():
                cells[column.heading.format(subset=subset)] = (column, value)
    return cells


def format_leaderboard(
    rows: Sequence[ScoreRow], decimals: int = 2, sign: str = " +- "
) -> pd.DataFrame:
    """Write the rows as people read them: `mean +- std` in one cell."""
    lines = []
    for row in rows:
        cells = reader_cells(rows, row).items()
        line = {name: c.format_value(row, value, decimals, sign) for name, (c, value) in cells}
        lines.append(line)
    return pd.DataFrame(lines)
