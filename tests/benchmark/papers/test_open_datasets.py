"""Printed numbers of open datasets: those of their dossier, and with the part that was tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.papers.measured import MeasuredRuns
from benchmark.papers.printed_numbers import PaperResults, PrintedNumber, read_paper_results
from benchmark.papers.render import format_csv, format_latex, format_markdown
from benchmark.papers.tables import build_tables
from benchmark.records.selection import RecordSelection
from tests.support.published_records import fixed_record

DOSSIER = Path(__file__).resolve().parents[4] / "shared" / "dossiers" / "open_datasets.md"
beside = pytest.mark.skipif(not DOSSIER.is_file(), reason="the dossier is not here")
# sensors of FLAIR-HUB by the word of its table; aerial images are two of ours
LETTERS = {"aerial": "R+N", "elevation": "D", "SPOT": "P", "S2": "M", "S1": "S", "historical": "H"}
ALL = "aerial + elevation + SPOT + S2 + S1 + historical"
CELLS = re.compile(r"[0-9]+\.[0-9]+")


@pytest.fixture(scope="module")
def reported() -> PaperResults:
    return read_paper_results()


def section(number: str) -> list[list[str]]:
    """Rows of the tables of a section, as cells without their bold marks."""
    text = DOSSIER.read_text(encoding="utf-8")
    _, _, rest = text.partition(f"\n### {number} ")
    own = rest.partition("\n### ")[0]
    lines = [line for line in own.splitlines() if line.startswith("|")]
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines]


def printed(numbers: list[PrintedNumber]) -> dict[str, dict[str, str]]:
    """Printed texts by combo and metric."""
    found: dict[str, dict[str, str]] = {}
    for number in numbers:
        assert number.printed == number.value
        found.setdefault(number.combo, {})[number.metric] = number.printed
    return found


@beside
def test_flair_hub_is_the_dossiers(reported: PaperResults) -> None:
    expected = {}
    for id_, inputs, params, oa, miou in (r for r in section("4.7") if CELLS.fullmatch(r[-1])):
        words = ALL if id_ == "ALL" else inputs
        combo = "+".join(LETTERS[word] for word in words.split(" + "))
        expected[combo] = {"params_M": params, "OA": oa, "mIoU": miou}
    assert len(expected) == 13
    assert printed(reported.select_all(source="flairhub")) == expected


@beside
def test_metars_is_the_dossiers(reported: PaperResults) -> None:
    rows = [row for row in section("3.7") if row[1:2] == ["S"] and row[2].startswith("test")]
    # of classes it gives words
    scores = [CELLS.findall(row[3]) for row in rows if not row[0].startswith("per class")]
    found = reported.select_all(source="metars")
    assert [number.printed for number in found] == [value for row in scores for value in row]
    assert {number.combo for number in found} == {"S"}
    assert len(found) == 6


@beside
def test_muses_is_the_dossiers(reported: PaperResults) -> None:
    rows = [row for row in section("8.6") if len(row) == 9 and CELLS.fullmatch(row[1])]
    combos = ["F", "E", "L", "F+E", "F+L", "E+L", "F+E+L", "Average"]
    expected = {row[0].lower(): dict(zip(combos, row[1:], strict=True)) for row in rows}
    found: dict[str, dict[str, str]] = {}
    for number in reported.select_all(source="anyseg"):
        found.setdefault(number.method, {})[number.combo] = number.printed
    assert found == expected and len(found) == 5


def test_other_labels_are_another_task(reported: PaperResults) -> None:
    """Pixels without a label count as road in what AnySeg prints (dossier, 8.5)."""
    records = []
    for method in ("anyseg", "cmnext", "magic"):
        records.append(fixed_record("deliver", "RDEL", method, "mit_b0", "standard", 0))
    runs = MeasuredRuns({"muses": RecordSelection(records)})
    (table,) = (t for t in build_tables(reported, runs) if t.source == "anyseg")
    assert not any(row.measured for row in table.rows)


@pytest.mark.parametrize(
    ("source", "part"), [("flairhub", "test of split_1"), ("metars", "EarthMiss test cities")]
)
def test_scores_say_what_they_were_tested_on(
    reported: PaperResults, source: str, part: str
) -> None:
    """In the heading, so that a table without its notes says it, too."""
    numbers = reported.select_all(source=source, kind="score")
    assert numbers and all(part in number.paper_column for number in numbers)
    (table,) = (t for t in build_tables(reported, MeasuredRuns({})) if t.source == source)
    for text in (format_csv(table), format_markdown(table), format_latex(table)):
        assert part.replace("_", r"\_") in text or part in text


def test_what_was_selected_on_test_says_so(reported: PaperResults) -> None:
    best = reported.select_all(source="metars", variant="log_best")
    assert best and all("(selected on test)" in number.paper_row for number in best)


def test_one_network_for_all_subsets_stands_beside_no_specialist(reported: PaperResults) -> None:
    numbers = reported.select_all(source="flairhub")
    assert {number.variant for number in numbers} == {"specialist"}
    encoder = MeasuredRuns({}).suite_name("backbone", "swin_b", "FLAIR-HUB")
    # of any data: a selection says which
    record = fixed_record("deliver", "RDEL", "control", encoder, "standard", 0)
    runs = MeasuredRuns({"flairhub": RecordSelection([record])})
    (table,) = (t for t in build_tables(reported, runs) if t.source == "flairhub")
    assert not any(row.measured for row in table.rows)
