"""Printed numbers of newer rivals against what must hold among them, and against each other."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from benchmark.papers.measured import MeasuredRuns
from benchmark.papers.printed_numbers import PaperResults, read_paper_results
from benchmark.papers.render import format_csv, format_latex, format_markdown
from benchmark.papers.tables import build_tables
from benchmark.records.selection import RecordSelection
from tests.support.published_records import fixed_record

TABLES = {"anyseg": "MUSES", "liao": "DELIVER", "specialists": "DELIVER"}
# on MUSES their loaders take pixels without a label for road, which is another task
DATASETS = {"anyseg": "muses_as_road", "liao": "deliver", "specialists": "deliver"}
FAILING = (0.2, 0.1, 0.05)  # probabilities of a sensor to be missing
LIAO = ("cmnext", "geminifusion", "magic", "magic++", "stitchfusion")


@pytest.fixture(scope="module")
def reported() -> PaperResults:
    return read_paper_results()


def values(reported: PaperResults, source: str, method: str) -> dict[str, float]:
    """Numbers of a row by combo."""
    row = reported.select_in_table(source, TABLES[source], method=method)
    return {number.combo: float(number.value) for number in row}


@pytest.mark.parametrize("method", ["cmx", "cmnext", "magic", "any2seg", "anyseg"])
def test_a_mean_on_muses_is_that_of_the_seven_subsets(reported: PaperResults, method: str) -> None:
    row = values(reported, "anyseg", method)
    mean = row.pop("Average")
    subsets = ["+".join(chosen) for size in (1, 2, 3) for chosen in combinations("FEL", size)]
    assert sorted(row) == sorted(subsets)
    assert mean == pytest.approx(np.mean(list(row.values())), abs=0.005)


@pytest.mark.parametrize("method", LIAO)
def test_less_damage_scores_higher(reported: PaperResults, method: str) -> None:
    row = values(reported, "liao", method)
    # a fair coin per sensor, given that one is left, makes all subsets equally likely
    missing = [row["EMM"], *(row[f"E({p})"] for p in FAILING)]
    # a share of one would be a whole sensor
    damaged = [row["EMM"], *(row[f"RMM({share})"] for share in (0.75, 0.5, 0.25))]
    assert missing == sorted(missing) and damaged == sorted(damaged)


def means_by_size(row: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Mean mIoU over the subsets of 1, 2, 3, 4 sensors, and how far rounding can move each."""
    mixture = np.array(
        [
            [comb(4, k) * (1 - p) ** k * p ** (4 - k) / (1 - p**4) for k in (1, 2, 3, 4)]
            for p in (0.5, *FAILING)
        ]
    )
    inverse = np.linalg.inv(mixture)
    printed = [row["EMM"], *(row[f"E({p})"] for p in FAILING)]
    return inverse @ printed, 0.005 * np.abs(inverse).sum(axis=1)


@pytest.mark.parametrize("method", LIAO)
def test_more_sensors_score_higher(reported: PaperResults, method: str) -> None:
    means, _ = means_by_size(values(reported, "liao", method))
    assert means[0] > 0 and means[3] < 100 and (np.diff(means) > 0).all()


@pytest.mark.parametrize("method", ["cmnext", "geminifusion", "stitchfusion"])
def test_expectations_imply_what_the_authors_print_for_all_sensors(
    reported: PaperResults, method: str
) -> None:
    """Two papers by different authors: the network for four sensors is the same specialist."""
    means, moved = means_by_size(values(reported, "liao", method))
    (own,) = reported.select_in_table("specialists", "DELIVER", method=method, combo="R+D+E+L")
    rounding = float(own.number.high - own.number.value)
    assert abs(means[3] - float(own.value)) <= moved[3] + rounding


@pytest.mark.parametrize("source", TABLES)
def test_every_number_says_the_validation_split(reported: PaperResults, source: str) -> None:
    """In the heading, so that a table without its notes says it, too."""
    numbers = reported.by_table[source, TABLES[source]]
    heading = f"{TABLES[source]} validation / "
    assert all(number.paper_column.startswith(heading) for number in numbers)
    assert {number.dataset for number in numbers} == {DATASETS[source]}
    tables = build_tables(reported, MeasuredRuns({}))
    (table,) = (table for table in tables if table.source == source)
    assert any(f"validation split of {TABLES[source]}" in note for note in table.notes)
    for text in (format_csv(table), format_markdown(table), format_latex(table)):
        assert f"{TABLES[source]} validation" in text


def test_nothing_measured_stands_beside_a_specialist(reported: PaperResults) -> None:
    """One network tested on every subset is not a network for each of them."""
    numbers = reported.by_table["specialists", "DELIVER"]
    assert {number.variant for number in numbers} == {"specialist"}
    records = []
    for method in ("cmnext", "stitchfusion"):
        records.append(fixed_record("deliver", "RDEL", method, "pvt_v2_b2", "sgma", 0))
    tables = build_tables(reported, MeasuredRuns({"deliver": RecordSelection(records)}))
    (table,) = (table for table in tables if table.source == "specialists")
    assert not any(row.measured for row in table.rows)
