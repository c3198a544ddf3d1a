"""The files of a leaderboard, and its table on the terminal."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from benchmark.choices import beside_runs
from benchmark.formats.markdown import Part, escape_markdown, print_table
from benchmark.formats.table_files import write_table_files
from benchmark.leaderboard.compact import latex_columns, terminal_tables
from benchmark.leaderboard.contests import write_contests
from benchmark.leaderboard.incomplete import write_incomplete
from benchmark.leaderboard.notes import describe_scoring, footnote, scored_on_fewer, split_notes
from benchmark.leaderboard.per_class import class_frame, class_page, score_classes
from benchmark.leaderboard.regret import write_regret
from benchmark.leaderboard.reliability import write_reliability_tables
from benchmark.leaderboard.score_rows import ScoreRow, condition_rows, leaderboard_rows
from benchmark.leaderboard.table import format_leaderboard, leaderboard_frame
from benchmark.method_table import method_entry
from benchmark.records.groups import seed_groups
from benchmark.records.selection import RecordSelection, select_records


def publish_leaderboard(
    data: str,
    selection: RecordSelection,
    out: Path,
    own: Collection[str] = (),
    wide: bool = False,
    short: bool = False,
) -> None:
    """Write the files of a dataset and print its tables; `own` are the groups to be marked.

    A `short` table of many rows has these and the best of each kind.
    """
    rows = leaderboard_rows(seed_groups(selection.records))
    contests = leaderboard_rows(seed_groups(selection.contests))
    paths = write_contests(data, contests, selection.skipped, out)
    if rows:
        paths = write_leaderboard(data, rows, selection.skipped, out)
        write_regret(data, rows, selection.specialists, out)
    for shown in filter(None, (rows, contests)):
        tables = {} if wide else terminal_tables(shown, own, short)
        for title, table in tables.items():
            print_table(f"{data}: mIoU in per cent, protocol {title}", table, compact=True)
        printed = sum(map(len, tables.values()))
        if tables and printed < len(shown):
            whole = f"all {len(shown)}: make leaderboard DATA={data}, or the CSV"
            print(f"{len(shown) - printed} rows are folded here; {whole}")
        if wide:
            print_wide(data, shown)
        most, fewer = scored_on_fewer(shown)
        if fewer:
            print(f"{most} test scenes, fewer where some lack a sensor: {fewer}")
    more = "" if wide else "; all columns: WIDE=1"
    print(f"Leaderboard: {paths[0].with_suffix('.*')}{more}")


def print_wide(data: str, rows: Sequence[ScoreRow]) -> None:
    """Print all columns, and a table per condition where scenes have any."""
    titles = {f"{data}: mIoU in per cent": rows}
    titles[f"{data}, per condition of the test scenes: mIoU in per cent"] = condition_rows(rows)
    for title, shown in titles.items():
        if shown:
            # one decimal fits a terminal; the files have two
            print_table(title, format_leaderboard(shown, decimals=1, sign="\u00b1"))


def write_leaderboard(
    data: str, rows: Sequence[ScoreRow], skipped: Sequence[str], out: Path
) -> list[Path]:
    """Write `<data>` and its like, each as `.csv`, `.md` and `.tex`.

    Conditions of scenes, classes, reliability and what incomplete training costs have files of
    their own, such as `<data>.classes.csv`.
    """
    paths: list[Path] = []
    for stem, shown in {data: rows, f"{data}.conditions": condition_rows(rows)}.items():
        # test scenes need not have conditions
        if shown:
            page = [*fold_variants(shown), escape_markdown(footnote(shown))]
            cells, best, note = latex_columns(shown)
            csv = {"csv": leaderboard_frame(shown)}
            paths += write_table_files(out, stem, csv, page, {"": cells}, note, skipped, best)
    classes = score_classes([row.group for row in rows])
    parts, tables = class_page(data, classes)
    basis = f"Scored {describe_scoring(rows)}.{split_notes(rows)}"
    note = f"IoU with all sensors, mean +- std over n seeds. {basis}"
    csv = {"csv": class_frame(classes)}
    stem, page = f"{data}.classes", [*parts, escape_markdown(basis)]
    paths += write_table_files(out, stem, csv, page, tables, note, skipped)
    groups = [row.group for row in rows]
    paths += write_reliability_tables(data, groups, basis, out)
    return paths + write_incomplete(data, groups, out)


def fold_variants(rows: Sequence[ScoreRow]) -> list[Part]:
    """Lay out the rows as Markdown: methods and baselines, and folded what else was made of them.

    That is every variant, and every row with other settings.
    """
    table = format_leaderboard(rows)
    folded = []
    for row in rows:
        folded.append(bool(row.group.overrides) or method_entry(row.group.method).kind == "variant")
    if all(folded) or not any(folded):
        return [table]
    more = table[folded]
    # the others have no such settings
    shown = table[~pd.Series(folded)].drop(columns="overrides", errors="ignore")
    summary = f"<summary>{len(more)} more: variants, other settings</summary>"
    return [shown, f"<details>\n{summary}", more, "</details>"]


def update_leaderboard(runs: Path, data: str, own: str = "", wide: bool = False) -> None:
    """Rebuild one dataset's leaderboard after a run of the group `own`, print it or its head."""
    out = beside_runs(runs, "leaderboards")
    selection = select_records(runs, [data], contests=True)[data]
    publish_leaderboard(data, selection, out, [own], wide, short=True)
