"""`imss leaderboard`: from run records to results/leaderboards, and to the terminal."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmark.classes import class_board, class_page
from benchmark.leaderboard import condition_board, conventions, footnote, leaderboard, shown, split_notes
from benchmark.names import ROOT
from benchmark.pages import TEXT_COLUMNS, Part, page_latex, page_markdown
from benchmark.records import Record, find_records
from benchmark.rows import rows_of
from benchmark.texts import write_texts
from usererror import UserError

PUBLISHED = ROOT / "results" / "records"


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Rebuild the leaderboard of one dataset, or of all that have records."""
    out = Path(arguments.out).expanduser()
    for data, records in chosen_records(Path(arguments.runs).expanduser(), arguments.data).items():
        rebuild(data, records, out)


def chosen_records(runs: Path, data: str) -> dict[str, list[Record]]:
    """Records by dataset: of the named one, or of all that have records if `data` is empty.

    Raises:
        UserError: there are none.
    """
    by_data = records_by_data(runs)
    if data and data not in by_data:
        have = ", ".join(sorted(by_data)) or "none at all"
        raise UserError(f"No run record of {data!r} below {runs}; there are records of: {have}.")
    if not by_data:
        raise UserError(f"No run record below {runs}; make one with: make bench")
    return {name: by_data[name] for name in ([data] if data else sorted(by_data))}


def records_by_data(runs: Path) -> dict[str, list[Record]]:
    """Records of RUNS together with the published ones, by dataset; what was left out is printed."""
    records, remarks = find_records([root for root in (runs, PUBLISHED) if root.exists()])
    for remark in remarks:
        print(f"Left out: {remark}")
    by_data: dict[str, list[Record]] = {}
    for record in records:
        by_data.setdefault(record.manifest["data"], []).append(record)
    return by_data


def one_fingerprint(data: str, records: Sequence[Record]) -> list[Record]:
    """The records of the newest fingerprint: scores on different pixels are not comparable."""
    newest = max(records, key=lambda record: record.manifest["created"]).manifest["fingerprint"]
    kept = [record for record in records if record.manifest["fingerprint"] == newest]
    if len(kept) < len(records):
        print(f"Left out: {len(records) - len(kept)} records of {data} with another fingerprint than {newest[:12]}.")
    return kept


def rebuild(data: str, records: Sequence[Record], out: Path) -> None:
    """Write the files of a dataset and print the table."""
    kept = one_fingerprint(data, records)
    boards = build(data, kept)
    paths = write_boards(out, data, boards, kept)
    print_table(f"{data}: mIoU in per cent", boards[data])
    if (conditions := f"{data}.conditions") in boards:
        print_table(f"{data}, per condition of the test scenes: mIoU in per cent", boards[conditions])
    print("Leaderboard: " + ", ".join(str(path) for path in paths))


def build(data: str, records: Sequence[Record]) -> dict[str, pd.DataFrame]:
    """The leaderboard under the name `<data>`, and `<data>.conditions` where test scenes have conditions."""
    boards = {data: leaderboard(records), f"{data}.conditions": condition_board(records)}
    return {name: board for name, board in boards.items() if not board.empty}


def write_boards(
    directory: Path, data: str, boards: Mapping[str, pd.DataFrame], records: Sequence[Record]
) -> list[Path]:
    """Write each of `build` and `<data>.classes` as `.csv` (every column), `.md` and `.tex`; return the paths."""
    rows = rows_of(records)
    pages: dict[str, list[Part]] = {name: [shown(board), footnote(board, records)] for name, board in boards.items()}
    whole = boards[data]
    basis = f"Scored {conventions(whole, records)}.{split_notes(whole)}"
    pages[f"{data}.classes"] = [*class_page(data, rows), basis]
    contents: dict[str, str] = {}
    for name, board in {**boards, f"{data}.classes": class_board(rows)}.items():
        contents |= {
            f"{name}.csv": board.to_csv(index=False, float_format="%.4f", lineterminator="\n"),
            f"{name}.md": page_markdown(pages[name]),
            f"{name}.tex": page_latex(pages[name]),
        }
    return write_texts(directory, contents)


def show(runs: Path, data: str, out: Path | None = None) -> None:
    """Rebuild and print one dataset's leaderboard after a run.

    Runs kept elsewhere than in the default place write their leaderboards beside them, not over the project's.
    """
    default = runs.resolve() == (Path.cwd() / "results" / "runs").resolve()
    target = out or (Path("results/leaderboards") if default else runs.parent / "leaderboards")
    rebuild(data, records_by_data(runs)[data], target)


def print_table(title: str, rows: pd.DataFrame) -> None:
    """A leaderboard as a terminal table, to one decimal; the files have two."""
    print_display(title, shown(rows, decimals=1, sign="\u00b1"))


def print_display(title: str, display: pd.DataFrame) -> None:
    """A table of texts on the terminal, first columns left and numbers right aligned."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for name in display.columns:
        table.add_column(name, justify="left" if name in TEXT_COLUMNS else "right", no_wrap=True)
    for row in display.itertuples(index=False):
        table.add_row(*map(str, row))
    console = Console()
    # a narrow terminal wraps lines; nothing is cut off
    console.width = max(console.width, Console(width=1000).measure(table).maximum)
    console.print(table)
