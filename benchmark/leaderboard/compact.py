"""The leaderboard in few columns: for a terminal of 80 characters, and for a page of LaTeX."""

from collections.abc import Collection, Sequence

import pandas as pd

from benchmark.leaderboard.families import leading_rows
from benchmark.leaderboard.notes import describe_scoring, split_notes
from benchmark.leaderboard.score_rows import ScoreRow
from benchmark.leaderboard.table import EACH, reader_cells
from benchmark.method_table import method_entry
from benchmark.metrics.summaries import MeanStd
from benchmark.records.groups import comparable_groups, short_names

ON_TERMINAL = ("Average", "Top-1", "Last-1", "n")
MOST_SUBSETS = 7  # that fit beside each other; of more, single modalities and all of them
NAMED = ("method", "backbone", "overrides")  # in the first column, as far as they tell rows apart
OWN = "> "  # before the rank of a row of the user's


def terminal_tables(
    rows: Sequence[ScoreRow], own: Collection[str], short: bool = False
) -> dict[str, pd.DataFrame]:
    """Rank the rows of each protocol; `own` are the groups that are marked.

    A `short` table of many rows has these and the best ones, see `leading_rows`.
    """
    by_group = {row.group.group: row for row in rows}
    tables = {}
    for title, groups in comparable_groups([row.group for row in rows]).items():
        names, lines = short_names(groups), []
        chosen = {group.group for group in (leading_rows(groups, own) if short else groups)}
        for rank, group in enumerate(groups, start=1):
            if group.group not in chosen:
                continue
            row = by_group[group.group]
            mark = OWN if group.group in own else ""
            # without an Average there is no rank
            place = "-" if row.unseen else rank
            line = {"#": f"{mark}{place}", "method": names[group.group]}
            cells = reader_cells(rows, row)
            # of some subsets there is no summary
            headings = (*row.subsets, "n") if group.manifest.scores_some else ON_TERMINAL
            for heading in headings:
                column, value = cells[heading]
                line[heading] = column.format_value(row, value, decimals=1, sign="\u00b1")
            lines.append(line)
        tables[title] = pd.DataFrame(lines)
    return tables


def latex_columns(rows: Sequence[ScoreRow]) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Lay out the rows for a page: cells, which of them are best, and a note."""
    titles: dict[str, str] = {}
    names: dict[str, str] = {}
    for title, groups in comparable_groups([row.group for row in rows]).items():
        titles |= dict.fromkeys((group.group for group in groups), title)
        names |= short_names(groups, lambda method: method_entry(method).name)
    lines, values = [], []
    changed: dict[str, int] = {}
    for row in rows:
        name, overrides = names[row.group.group], row.group.overrides
        if overrides:
            # too long for a cell
            name += f" [{changed.setdefault(overrides, len(changed) + 1)}]"
        line: dict[str, str] = {"method": name}
        # of rows that may be ranked against each other
        scores: dict[str, float | str] = {"": f"{titles[row.group.group]} {row.condition}"}
        for heading, (column, value) in reader_cells(rows, row).items():
            if heading in NAMED or _is_left_out(heading, row.subsets):
                continue
            text = column.format_value(row, value, 1)
            if isinstance(value, MeanStd):
                scores[heading] = round(float(value.mean), 1)
                # the subset in brackets has a column of its own
                text = text.partition(" (")[0]
                if column.heading == EACH:
                    text = text.partition(" +- ")[0]
            line[heading] = text
        lines.append(line)
        values.append(scores)
    table, numbers = pd.DataFrame(lines).fillna("-"), pd.DataFrame(values)
    ranked = numbers.drop(columns="")
    best = ranked.eq(ranked.groupby(numbers[""]).transform("max"))
    best = best.reindex(columns=table.columns, fill_value=False)
    alike = []
    for heading in table.columns.difference([*ranked, "method"], sort=False):
        if table[heading].nunique() == 1:
            alike.append(f"{heading} {table[heading].iloc[0]}")
            del table[heading], best[heading]
    note = f"mIoU in per cent {describe_scoring(rows)}; mean +- std over n seeds, the mean alone "
    note += "of a subset; the best in bold."
    if alike:
        note += f" All rows: {', '.join(alike)}."
    for overrides, number in changed.items():
        note += f" [{number}] with {overrides}."
    return table, best, note + split_notes(rows)


def _is_left_out(heading: str, subsets: Sequence[str]) -> bool:
    """Tell whether a subset is one of many: neither a single modality nor all."""
    if len(subsets) <= MOST_SUBSETS or heading not in subsets:
        return False
    return "+" in heading and heading != subsets[-1]
