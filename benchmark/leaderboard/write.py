"""`imss leaderboard`: from run records to results/leaderboards, and to the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmark.formats.files import write_texts
from benchmark.formats.markdown_latex import Part, page_latex, page_markdown
from benchmark.formats.terminal import print_display
from benchmark.leaderboard.notes import conventions, footnote, left_out_notes, split_notes
from benchmark.leaderboard.per_class import class_board, class_page
from benchmark.leaderboard.table import condition_board, leaderboard, shown
from benchmark.records.groups import seed_groups
from benchmark.records.record import Record
from benchmark.records.selection import RecordSelection, select_records


def rebuild(data: str, choice: RecordSelection, out: Path) -> None:
    """Write the files of a dataset and print the table."""
    boards = build(data, choice.records)
    paths = write_boards(out, data, boards, choice)
    print_table(f"{data}: mIoU in per cent", boards[data])
    if (conditions := f"{data}.conditions") in boards:
        print_table(
            f"{data}, per condition of the test scenes: mIoU in per cent", boards[conditions]
        )
    print("Leaderboard: " + ", ".join(str(path) for path in paths))


def build(data: str, records: Sequence[Record]) -> dict[str, pd.DataFrame]:
    """The leaderboard under the name `<data>`, and `<data>.conditions` where test scenes have conditions."""
    boards = {data: leaderboard(records), f"{data}.conditions": condition_board(records)}
    return {name: board for name, board in boards.items() if not board.empty}


def write_boards(
    directory: Path, data: str, boards: Mapping[str, pd.DataFrame], choice: RecordSelection
) -> list[Path]:
    """Write each of `build` and `<data>.classes` as `.csv` (every column), `.md` and `.tex`; return the paths."""
    records, rows = choice.records, seed_groups(choice.records)
    pages: dict[str, list[Part]] = {
        name: [shown(board), footnote(board, records)] for name, board in boards.items()
    }
    whole = boards[data]
    basis = f"Scored {conventions(whole, records)}.{split_notes(whole)}"
    pages[f"{data}.classes"] = [*class_page(data, rows), basis]
    contents: dict[str, str] = {}
    for name, board in {**boards, f"{data}.classes": class_board(rows)}.items():
        page = [*pages[name], *left_out_notes(choice.skipped)]
        contents |= {
            f"{name}.csv": board.to_csv(index=False, float_format="%.4f", lineterminator="\n"),
            f"{name}.md": page_markdown(page),
            f"{name}.tex": page_latex(page),
        }
    return write_texts(directory, contents)


def show(runs: Path, data: str, out: Path | None = None) -> None:
    """Rebuild and print one dataset's leaderboard after a run.

    Runs kept elsewhere than in the default place write their leaderboards beside them, not over the project's.
    """
    default = runs.resolve() == (Path.cwd() / "results" / "runs").resolve()
    target = out or (Path("results/leaderboards") if default else runs.parent / "leaderboards")
    rebuild(data, select_records(runs, [data])[data], target)


def print_table(title: str, rows: pd.DataFrame) -> None:
    """A leaderboard as a terminal table, to one decimal; the files have two."""
    print_display(title, shown(rows, decimals=1, sign="\u00b1"))
