"""Rebuild the published tables from `results/records` and fill them into the Markdown documents.

`make refresh` writes; `make refresh CHECK=1` writes nothing, names every stale file and fails if
there is one. What takes minutes is left to `make refresh COSTS=1`: the counts of parameters,
multiply-accumulates and memory of every method.

A table of a document stands between two comments, the first of which says what it shows:

    <!-- table: leaderboard miniature sgma sgma_sgf_only -->
    <!-- end -->

Names of rows follow the name of the dataset; without any, all rows are shown. A line `row: text`
adds a row with a name of its own.

Example:
    >>> text = "<!-- table: leaderboard miniature sgma -->\\nold\\n<!-- end -->"
    >>> fill_tables(text, lambda request: f"| {request.kind} of {' '.join(request.rows)} |")
    '<!-- table: leaderboard miniature sgma -->\\n\\n| leaderboard of sgma |\\n\\n<!-- end -->'
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from benchmark.formats.markdown import markdown_rows
from benchmark.method_table import method_entry, method_table
from benchmark.metrics.confusion import Scores
from benchmark.records.record import Record, search_records

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
DOCUMENTS = ("*.md", "docs/*.md", "methods/*/README.md", "results/**/README.md", "examples/**/*.md")
# tables that a command writes whole: verb, option of its target, folder below results
COMMANDS = (("leaderboard", "leaderboards"), ("tables", "tables"), ("audit", "."))
# letters of tables in the words of a newcomer
SENSORS = {"R": "RGB"}
OVERRIDES = " overrides "  # the column of settings that differ from those of the row's name
PROTOCOL = " protocol "
CELL = re.compile(r"(?<!\\)\|")
INCOMPLETE = "incomplete"  # what the names of protocols begin with that have a table of their own
LONGER = "trainer.max_steps=1500"  # what configs/sweep/budget.yaml sets
MARKED = re.compile(r"<!-- table: (.*?)-->\n.*?<!-- end -->", flags=re.DOTALL)


@dataclass(frozen=True)
class TableRequest:
    """What the opening comment of a table asks for.

    Attributes:
        kind: one of `KINDS`.
        data: dataset, or the file of results that the kind reads.
        rows: wanted rows in this order with their labels; all rows if empty.
    """

    kind: str
    data: str
    rows: dict[str, str]


def parse_request(comment: str) -> TableRequest:
    """Read the text between `<!-- table:` and `-->`."""
    first, *lines = comment.strip().splitlines()
    kind, data, *names = first.split()
    rows = {name: name for name in names}
    for line in lines:
        name, _, label = line.partition(":")
        rows[name.strip()] = label.strip()
    return TableRequest(kind, data, rows)


def fill_tables(text: str, render: Callable[[TableRequest], str]) -> str:
    """Replace what stands between the comments of every table."""

    def fill(match: re.Match[str]) -> str:
        table = render(parse_request(match[1]))
        return f"<!-- table: {match[1]}-->\n\n{table}\n\n<!-- end -->"

    return MARKED.sub(fill, text)


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a table whose columns but the first are numbers."""
    names = list(header)
    return markdown_rows(names, map(list, rows), "l" + "r" * (len(names) - 1))


def copied_table(folder: str, request: TableRequest, after: str = "") -> str:
    """Copy a table that a command wrote, the first `after` a heading; with its note if all rows
    are wanted.
    """
    text = (RESULTS / folder / f"{request.data}.md").read_text(encoding="utf-8").rstrip("\n")
    text = text[text.index(after) :]
    if not request.rows:
        return text
    by_name: dict[str, dict[str, str]] = {}
    shown: list[dict[str, str]] = []
    for block in text.split("\n\n"):
        if not block.startswith("|"):
            continue
        head, rule, *lines = [CELL.split(line[1:-1]) for line in block.splitlines()]
        # of a page with variants folded away, the first table's columns
        shown = shown or [dict(zip(head, head, strict=True)), dict(zip(head, rule, strict=True))]
        for line in lines:
            cells = dict(zip(head, line, strict=True))
            # a name is that of the row without other settings, after complete training
            protocol = cells.get(PROTOCOL, "").strip()
            if not cells.get(OVERRIDES, "").strip() and not protocol.startswith(INCOMPLETE):
                # pages go on with tables of details
                by_name.setdefault(line[0].split()[0], cells)
    shown += [by_name[name] for name in request.rows]
    columns = [name for name in shown[0] if name != OVERRIDES]
    return "\n".join(f"|{'|'.join(row[name] for name in columns)}|" for row in shown)


def table_beside(request: TableRequest, page: str = "", after: str = "") -> str:
    """Copy a table of a page beside the leaderboard of its dataset, which is named as the kind."""
    file = f"{request.data}.{page or request.kind}"
    return copied_table("leaderboards", replace(request, data=file), after)


def leaderboard_frame(data: str, overrides: str = "") -> pd.DataFrame:
    """Read the rows of a published leaderboard with these settings of their own, by method."""
    frame = pd.read_csv(RESULTS / "leaderboards" / f"{data}.csv").set_index("method")
    complete = ~frame[PROTOCOL.strip()].str.startswith(INCOMPLETE)
    return frame[complete & (frame[OVERRIDES.strip()].fillna("") == overrides)]


def plain_records(data: str) -> list[Record]:
    """Read the published records without settings of their own, after complete training."""
    found = []
    for record in search_records([RESULTS / "records" / data])[0]:
        incomplete = record.manifest.protocol.name.startswith(INCOMPLETE)
        if not record.manifest.overrides and not incomplete:
            found.append(record)
    return found


def seed_scores(request: TableRequest) -> dict[str, dict[int, dict[str, Scores]]]:
    """Read the scores of published records: wanted row -> seed -> subset."""
    found: dict[str, dict[int, dict[str, Scores]]] = {name: {} for name in request.rows}
    for record in plain_records(request.data):
        if record.manifest.variant in found:
            seeds = found[record.manifest.variant]
            seeds[record.manifest.seed] = dict(record.scores())
    return found


def f1_table(request: TableRequest) -> str:
    """Show the mean F1 of every subset, mean over seeds."""
    rows, header = [], ["row"]
    for name, seeds in seed_scores(request).items():
        frame = pd.DataFrame(seeds).map(lambda scores: 100 * scores.mf1)
        header = ["row", *(f"mF1 {subset}" for subset in frame.index)]
        rows.append([name, *(f"{value:.2f}" for value in frame.mean(axis=1))])
    return markdown_table(header, rows)


def full_set_column(frame: pd.DataFrame) -> str:
    """Name the column of the mIoU with all sensors, which need not be a row's best."""
    return max(map(str, frame.filter(regex=r"^mIoU \S+$")), key=lambda name: name.count("+"))


def demo_table(request: TableRequest) -> str:
    """Show the few columns that a newcomer needs, the best of each in bold."""
    frame = leaderboard_frame(request.data).loc[list(request.rows)]
    single = next(name for name in map(str, frame) if name.startswith("mIoU "))[5:]
    columns = {
        "all sensors": full_set_column(frame),
        "mean of all subsets": "Average",
        "worst subset": "Last-1",
        f"{SENSORS.get(single, single)} alone": f"mIoU {single}",
    }
    table = pd.DataFrame({"method": list(request.rows.values())})
    for title, column in columns.items():
        mean, std = frame[column], frame[f"{column} std"]
        cells = [f"{m:.1f}\u00a0±\u00a0{s:.1f}" for m, s in zip(mean, std, strict=True)]
        best = int(mean.argmax())
        cells[best] = f"**{cells[best]}**"
        table[title] = cells
    return markdown_table(table.columns, table.to_numpy().tolist())


def longer_table(request: TableRequest) -> str:
    """Show what five times the training changes, by the longer one's mean of all subsets."""
    boards = {"300": leaderboard_frame(request.data)}
    boards["1,500"] = leaderboard_frame(request.data, LONGER)
    names = boards["1,500"]["Average"][list(request.rows)].sort_values(ascending=False).index
    full = full_set_column(boards["300"])
    table = pd.DataFrame({"method": names})
    for title, column in (("mean of all subsets", "Average"), ("all sensors", full)):
        for steps, board in boards.items():
            table[f"{title}, {steps} steps"] = board[column][names].map("{:.1f}".format).to_numpy()
    return markdown_table(table.columns, table.to_numpy().tolist())


def cost_cells(data: str) -> dict[str, list[str]]:
    """Read millions of parameters, GMAC of all sensors and of all subsets, by method."""
    cells = {}
    for _, cost in pd.read_csv(RESULTS / "complexity" / f"{data}.csv").iterrows():
        numbers = [
            f"{cost['parameters'] / 1e6:.1f}",
            f"{cost.iloc[-2]:.0f}",
            f"{cost.iloc[-1]:.0f}",
        ]
        cells[str(cost["method"]).split()[0]] = numbers
    return cells


def budget_table(request: TableRequest) -> str:
    """Show what a method costs at the published scale, and how long its small training took."""
    costs = cost_cells("potsdam")
    minutes: dict[str, float] = {}
    for record in plain_records(request.data):
        name, seconds = record.manifest.variant, record.manifest.durations["fit_s"]
        minutes[name] = min(minutes.get(name, float("inf")), seconds / 60)
    rows = []
    for name in request.rows:
        rows.append([f"`{name}`", *costs[name], f"{minutes[name]:.0f} min"])
    header = ["method", "parameters, millions", "GMAC, all sensors", "GMAC, 7 subsets", "training"]
    return markdown_table(header, rows)


def methods_table(request: TableRequest) -> str:
    """Introduce every family of methods in a line: its members, its idea, its paper."""
    members: dict[str, list[str]] = {}
    for name, entry in method_table().items():
        members.setdefault(entry.family, []).append(f"`{name}`")
    rows = []
    for names in members.values():
        entry = method_entry(names[0].strip("`"))
        idea = "; ".join(filter(None, [entry.idea, ", ".join(names[1:])]))
        source = f"[{entry.source}]({entry.address})" if entry.address else ""
        rows.append([names[0], idea, " ".join(filter(None, [entry.year, source]))])
    return markdown_rows(["METHOD", "idea; related rows", "source"], rows, "lll")


def catalogue_table(request: TableRequest) -> str:
    """Say of every row what it is and what it costs on a dataset, for one window of 512 px."""
    costs, rows = cost_cells(request.data), []
    for name, entry in method_table().items():
        cells = costs.get(name, ["-"] * 3)
        year, code = entry.year or "-", entry.code_licence or "-"
        rows.append([f"`{name}`", entry.name, entry.kind, year, code, *cells])
    header = ["METHOD", "name", "kind", "year", "authors' code", "parameters, millions"]
    header += ["GMAC, all sensors", "GMAC, all subsets"]
    return markdown_rows(header, rows, "lllrlrrr")


def weights_table(request: TableRequest) -> str:
    """Say where the weights lie that families of methods start from, and under which licence."""
    from benchmark.experiment.request import Request
    from benchmark.weights.sources import counted_megabytes, weights_of

    starting: dict[tuple[str, str, str], list[str]] = {}
    families: dict[str, str] = {}
    for method, entry in method_table().items():
        families.setdefault(entry.family, method)
    for method in families.values():
        for one in weights_of(Request(method, request.data)):
            starting.setdefault((one.name, one.licence, one.address), []).append(f"`{method}`")
    rows = []
    for (name, licence, address), methods in sorted(starting.items()):
        cells = [f"`{name}`", licence, f"{counted_megabytes(name):.0f}", address]
        rows.append([*cells, ", ".join(methods)])
    return markdown_rows(["weights", "licence", "MB", "from", "METHOD"], rows, "llrll")


def full_set_drop(scores: dict[str, Scores]) -> float:
    """Points of mIoU between all modalities and the first alone."""
    names = list(scores)
    return 100 * (scores[max(names, key=len)].miou - scores[names[0]].miou)


def missing_f1(scores: dict[str, Scores]) -> float:
    """Mean F1 in per cent over the subsets that lack a modality."""
    full = max(scores, key=len)
    return 100 * pd.Series({name: s.mf1 for name, s in scores.items() if name != full}).mean()


def seed_table(figure: Callable[[dict[str, Scores]], float]) -> Callable[[TableRequest], str]:
    """Make the renderer of a table with one figure per seed, and its mean and deviation."""

    def render(request: TableRequest) -> str:
        rows, header = [], ["row"]
        for name, seeds in seed_scores(request).items():
            values = pd.Series({seed: figure(seeds[seed]) for seed in sorted(seeds)})
            header = ["row", *(f"seed {seed}" for seed in values.index), "mean +- std"]
            cells = [f"{value:.2f}" for value in values]
            rows.append([name, *cells, f"{values.mean():.2f} +- {values.std():.2f}"])
        return markdown_table(header, rows)

    return render


KINDS: dict[str, Callable[[TableRequest], str]] = {
    "leaderboard": lambda request: copied_table("leaderboards", request),
    "incomplete": table_beside,
    "regret": table_beside,
    "robustness": table_beside,
    "absence": partial(table_beside, page="robustness", after="### What stands for a missing"),
    "methods": methods_table,
    "catalogue": catalogue_table,
    "costs": lambda request: copied_table("complexity", request),
    "f1": f1_table,
    "demo": demo_table,
    "longer": longer_table,
    "budget": budget_table,
    "weights": weights_table,
    "full-set-drop": seed_table(full_set_drop),
    "missing-f1": seed_table(missing_f1),
}


def rebuilt_files(directory: Path) -> dict[Path, str]:
    """Run the table commands on the published records; map each path to its content."""
    contents: dict[Path, str] = {}
    # a folder without runs: a user's own runs do not enter what is published
    none = directory / "none"
    none.mkdir()
    for verb, folder in COMMANDS:
        out = directory / verb
        runs = [] if verb == "audit" else ["--runs", str(none)]
        line = [sys.executable, "-m", "benchmark", verb, *runs, "--out", str(out)]
        subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        for path in sorted(out.rglob("*.*")):
            contents[RESULTS / folder / path.name] = path.read_text(encoding="utf-8")
    return contents


def documents() -> list[Path]:
    """Every Markdown document that may hold tables."""
    return sorted({path for pattern in DOCUMENTS for path in ROOT.glob(pattern)})


def is_stale(path: Path, content: str) -> bool:
    """Whether a file is missing or says something else."""
    return not path.is_file() or path.read_text(encoding="utf-8") != content


def refresh_files(check: bool) -> list[str]:
    """Bring every file up to date, unless `check`; return the names of those that were not."""
    stale = []

    def settle(contents: dict[Path, str]) -> None:
        for path, content in contents.items():
            if not is_stale(path, content):
                continue
            stale.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(content, encoding="utf-8")

    with tempfile.TemporaryDirectory() as directory:
        settle(rebuilt_files(Path(directory)))
    # documents come second: they copy from the files above
    filled = {}
    for path in documents():
        text = path.read_text(encoding="utf-8")
        filled[path] = fill_tables(text, lambda request: KINDS[request.kind](request))
    settle(filled)
    return stale


def main() -> int:
    """Run the command; the exit status is 1 when a check finds a stale file."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description="Rebuild published tables and fill documents."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if stale")
    parser.add_argument("--costs", action="store_true", help="also count every method (minutes)")
    options = parser.parse_args()
    if options.costs:
        for data in ("miniature", "potsdam"):
            line = [sys.executable, "-m", "benchmark", "profile", "--all", "--data", data]
            line += ["--out", str(RESULTS / "complexity")]
            line += ["--memory"] if data == "potsdam" else []
            subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    stale = refresh_files(options.check)
    for name in stale:
        print(f"stale: {name}" if options.check else name)
    if stale and options.check:
        print("`make refresh` writes them anew.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
