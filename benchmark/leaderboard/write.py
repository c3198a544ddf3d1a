"""`imss leaderboard`: from run records to results/leaderboards, and to the terminal."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.choices import ROOT
from benchmark.formats.files import write_texts
from benchmark.formats.markdown_latex import TEXT_COLUMNS, Part, cells, page_latex, page_markdown
from benchmark.leaderboard.per_class import class_board, class_page
from benchmark.leaderboard.table import condition_board, conventions, footnote, leaderboard, shown, split_notes
from benchmark.records.groups import rows_of
from benchmark.records.record import Record, search_records
from usererror import UserError

PUBLISHED = ROOT / "results" / "records"
PROTOCOL_KEYS = ("name", "split", "score_label")  # of a protocol, what scores depend on besides the convention
WIDEST = 10_000  # columns of a table on the terminal


@dataclass(frozen=True)
class Choice:
    """What the tables of a dataset are made of.

    Attributes:
        records: of one fingerprint; those of one group agree in everything but the seed.
        left_out: sentences about what is not in them, and why; printed already.
    """

    records: list[Record]
    left_out: list[str]


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Rebuild the leaderboard of one dataset, or of all that have records."""
    out = Path(arguments.out).expanduser()
    for data, choice in chosen_records(Path(arguments.runs).expanduser(), arguments.data).items():
        rebuild(data, choice, out)


def chosen_records(runs: Path, data: str) -> dict[str, Choice]:
    """What the tables are made of: of the named dataset, or of all that have records if `data` is empty.

    Raises:
        UserError: there are no records.
    """
    by_data, unread = read_by_data(runs)
    if data and data not in by_data:
        have = ", ".join(sorted(by_data)) or "none at all"
        raise UserError(f"No run record of {data!r} below {runs}; there are records of: {have}.")
    if not by_data:
        raise UserError(f"No run record below {runs}; make one with: make bench")
    return {name: choose(name, by_data[name], unread) for name in ([data] if data else sorted(by_data))}


def records_among(runs: Path, datasets: Collection[str]) -> dict[str, Choice]:
    """As `chosen_records`, of those of the named datasets that have records."""
    by_data, unread = read_by_data(runs)
    return {name: choose(name, members, unread) for name, members in by_data.items() if name in datasets}


def read_by_data(runs: Path) -> tuple[dict[str, list[Record]], list[tuple[str, str]]]:
    """Records of RUNS together with the published ones, by dataset, and (dataset, sentence) of what was left out."""
    records, unread = search_records([root for root in (runs, PUBLISHED) if root.exists()])
    for _, text in unread:
        say_left_out(text)
    by_data: dict[str, list[Record]] = {}
    for record in records:
        by_data.setdefault(record.manifest["data"], []).append(record)
    return by_data, unread


def choose(name: str, members: Sequence[Record], unread: Sequence[tuple[str, str]] = ()) -> Choice:
    """Records that may stand in one table; what does not say its dataset any more is named beside every one."""
    left_out = [text for data, text in unread if data in ("", name)]
    return Choice(one_configuration(one_fingerprint(name, members, left_out), left_out), left_out)


def say_left_out(text: str, left_out: list[str] | None = None) -> None:
    """Print what no table holds, and note it for the tables themselves."""
    print(f"Left out: {text}")
    if left_out is not None:
        left_out.append(text)


def one_fingerprint(data: str, records: Sequence[Record], left_out: list[str] | None = None) -> list[Record]:
    """The records of the newest fingerprint: scores on different pixels are not comparable."""
    newest = max(records, key=lambda record: record.manifest["created"]).manifest["fingerprint"]
    kept = [record for record in records if record.manifest["fingerprint"] == newest]
    if len(kept) < len(records):
        number = len(records) - len(kept)
        say_left_out(f"{number} records of {data} with another fingerprint than {newest[:12]}.", left_out)
    return kept


def one_configuration(records: Sequence[Record], left_out: list[str] | None = None) -> list[Record]:
    """The records without those that differ from the newest of their group in more than the seed.

    The group's hash holds protocol and data, so this is a record that was altered, or made by other code.
    """

    def alike(one: Record, other: Record) -> bool:
        # older manifests lack keys of a protocol that newer ones have; what both say must be the same
        ours, theirs = one.manifest["protocol"], other.manifest["protocol"]
        same = all(ours[name] == theirs[name] for name in PROTOCOL_KEYS if name in ours and name in theirs)
        return same and one.manifest["convention"] == other.manifest["convention"] and one.axes == other.axes

    newest: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: str(record.manifest["created"])):
        newest[record.manifest["group"]] = record
    kept = []
    for record in records:
        other = newest[record.manifest["group"]]
        if alike(record, other):
            kept.append(record)
        else:
            text = f"{record.path} was scored by another protocol than {other.path}, of which it is to be another seed."
            say_left_out(text, left_out)
    return kept


def left_out_notes(left_out: Sequence[str]) -> list[Part]:
    """The end of a page that does not hold every record."""
    return ["Left out:", "\n".join(f"- {text}" for text in left_out)] if left_out else []


def rebuild(data: str, choice: Choice, out: Path) -> None:
    """Write the files of a dataset and print the table."""
    boards = build(data, choice.records)
    paths = write_boards(out, data, boards, choice)
    print_table(f"{data}: mIoU in per cent", boards[data])
    if (conditions := f"{data}.conditions") in boards:
        print_table(f"{data}, per condition of the test scenes: mIoU in per cent", boards[conditions])
    print("Leaderboard: " + ", ".join(str(path) for path in paths))


def build(data: str, records: Sequence[Record]) -> dict[str, pd.DataFrame]:
    """The leaderboard under the name `<data>`, and `<data>.conditions` where test scenes have conditions."""
    boards = {data: leaderboard(records), f"{data}.conditions": condition_board(records)}
    return {name: board for name, board in boards.items() if not board.empty}


def write_boards(directory: Path, data: str, boards: Mapping[str, pd.DataFrame], choice: Choice) -> list[Path]:
    """Write each of `build` and `<data>.classes` as `.csv` (every column), `.md` and `.tex`; return the paths."""
    records, rows = choice.records, rows_of(choice.records)
    pages: dict[str, list[Part]] = {name: [shown(board), footnote(board, records)] for name, board in boards.items()}
    whole = boards[data]
    basis = f"Scored {conventions(whole, records)}.{split_notes(whole)}"
    pages[f"{data}.classes"] = [*class_page(data, rows), basis]
    contents: dict[str, str] = {}
    for name, board in {**boards, f"{data}.classes": class_board(rows)}.items():
        page = [*pages[name], *left_out_notes(choice.left_out)]
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
    rebuild(data, chosen_records(runs, data)[data], target)


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
    for row in cells(display):
        table.add_row(*row)
    console = Console()
    console.width = WIDEST  # a narrow terminal wraps lines; nothing is cut off
    console.print(table)
