"""The audit of printed numbers against an independent list, brute force and planted errors."""

from __future__ import annotations

import csv
import re
import shutil
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmark.__main__ import main
from benchmark.metrics.confusion import Convention
from benchmark.papers.audit.arithmetic import combine_numbers, f1_of_iou, iou_of_f1, lowest_f1
from benchmark.papers.audit.checks import Check, compare_numbers
from benchmark.papers.audit.report import audit_papers, count_outcomes, select_findings
from benchmark.papers.audit.rules import RULES
from benchmark.papers.printed_numbers import (
    REPORTED,
    PaperResults,
    PrintedNumber,
    RoundedNumber,
    format_fraction,
    read_paper_results,
)
from tests.support.toy_records import score
from usererror import UserError

ROOT = Path(__file__).resolve().parents[3]
# an audit of the same tables made before this one, where the checkout lies beside it
LIST = ROOT.parent / "shared" / "reported"
beside = pytest.mark.skipif(
    not (LIST / "audit_expected.csv").exists(), reason="the independent list is not at hand"
)
KIND = {"wrong": "differs", "impossible": "no matrix", "claim": "statement", "pattern": "pattern"}
KIND["rounding"] = "rounding"


@pytest.fixture(scope="module")
def reported() -> PaperResults:
    return read_paper_results()


@pytest.fixture(scope="module")
def checks(reported: PaperResults) -> list[Check]:
    return audit_papers(reported)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def changed(
    reported: PaperResults, choose: Callable[[PrintedNumber], bool], **values: str
) -> PaperResults:
    """The same tables with other values in the one cell that `choose` picks."""
    assert sum(map(choose, reported.numbers)) == 1
    cells = (replace(cell, **values) if choose(cell) else cell for cell in reported.numbers)
    return PaperResults(tuple(cells), reported.labels)


def named(checks: list[Check]) -> Counter[tuple[str, ...]]:
    return Counter(
        (check.paper, check.table, check.location, check.rule) for check in select_findings(checks)
    )


@beside
def test_every_finding_of_the_independent_list_is_found_and_no_other(checks: list[Check]) -> None:
    expected = rows(LIST / "audit_expected.csv")
    assert len(expected) == 183
    ours = {(c.paper, c.table, c.location, c.rule, c.printed): c for c in select_findings(checks)}
    theirs = {
        tuple(row[k] for k in ("paper", "table", "location", "rule", "printed")): row
        for row in expected
    }
    assert set(ours) == set(theirs) and len(select_findings(checks)) == len(expected)
    for key, row in theirs.items():
        assert ours[key].kind == KIND[row["note"].split(":")[0]], key
        own, other = (
            Decimal(text.removesuffix(" %")) for text in (ours[key].recomputed, row["recomputed"])
        )
        assert own.quantize(other, ROUND_HALF_UP) == other, key
    assert not [
        check
        for check in select_findings(checks)
        if any(word in check.arithmetic for word in ("wrong", "error"))
    ]


@beside
def test_every_count_of_the_independent_list_is_the_same(checks: list[Check]) -> None:
    expected = {tuple(row.values()) for row in rows(LIST / "audit_counts.csv")}
    papers = {paper for paper, *_ in expected}
    counts = [row for row in count_outcomes(checks) if row[0] in papers]
    ours = {row for row in counts if row[2] != "claim"}
    assert ours == expected and len(expected) == 57


@beside
def test_the_numbers_are_the_transcribed_ones() -> None:
    for pattern in ("*_results.csv", "*_complexity.csv"):
        for path in LIST.glob(pattern):
            assert (REPORTED / path.name).read_bytes() == path.read_bytes(), path.name
    # labels of papers that came later stand between
    labels = rows(REPORTED / "labels.csv")
    assert all(row in labels for row in rows(LIST / "labels.csv"))


def test_bounds_hold_for_random_matrices_and_are_attained() -> None:
    rng = np.random.default_rng(0)
    for classes in (2, 5, 25):
        convention = Convention(tuple(range(classes)), tuple(range(classes)))
        for _ in range(200):
            matrix = rng.integers(0, 50, (classes, classes)) ** 2 + np.diag(
                rng.integers(1, 9**6, classes)
            )
            scores = score(matrix, convention)
            miou, f1 = Fraction(100 * scores.miou), 100 * scores.mf1
            assert float(lowest_f1(miou, classes)) - 1e-9 <= f1 <= float(f1_of_iou(miou)) + 1e-9
            assert float(f1_of_iou(Fraction(100 * scores.iou[0]))) == pytest.approx(
                100 * scores.f1[0]
            )
            assert float(iou_of_f1(Fraction(100 * scores.f1[0]))) == pytest.approx(
                100 * scores.iou[0]
            )
    two = Convention((0, 1), (0, 1))
    equal = score(np.array([[7, 3], [3, 7]]), two)
    assert float(f1_of_iou(Fraction(100 * equal.miou))) == pytest.approx(100 * equal.mf1)
    everywhere = score(np.array([[75, 0], [25, 0]]), two)
    assert float(lowest_f1(Fraction(100 * everywhere.miou), 2)) == pytest.approx(
        100 * everywhere.mf1
    )


def test_lower_bound_is_the_least_over_a_grid_of_class_ious() -> None:
    """Brute force: no triple of class IoU on a grid has a smaller F1 at its mean IoU."""
    grid = [Fraction(step, 20) * 100 for step in range(21)]
    least: dict[Fraction, Fraction] = {}
    for triple in product(grid, repeat=3):
        miou, f1 = sum(triple) / 3, sum(map(f1_of_iou, triple)) / 3
        least[miou] = min(f1, least.get(miou, f1))
    assert all(lowest_f1(miou, 3) == f1 for miou, f1 in least.items())


def test_interval_arithmetic_covers_every_number_that_prints_the_same() -> None:
    numbers = [RoundedNumber.from_print(text) for text in ("12.3", "45.67", "8")]
    row = [SimpleNamespace(number=number) for number in numbers]
    ends = list(product(*((n.low, n.value, n.high) for n in numbers)))
    for combined, function in {
        combine_numbers(statistics.mean, row): lambda a, b, c: (a + b + c) / 3,
        numbers[0] - numbers[1]: lambda a, b, c: a - b,
        numbers[0].divided_by(numbers[1]): lambda a, b, c: a / b,
    }.items():
        values = [function(*end) for end in ends]
        assert (min(values), max(values)) == (combined.low, combined.high)
    assert (
        compare_numbers(RoundedNumber.from_print("2.50"), RoundedNumber(*[Fraction("2.505")] * 3))
        == "agree"
    ), "half a unit still agrees"
    assert (
        compare_numbers(RoundedNumber.from_print("2.50"), RoundedNumber(*[Fraction("2.5051")] * 3))
        == "fail"
    )
    assert (
        compare_numbers(RoundedNumber.from_print("2.50"), RoundedNumber.from_print("2.51"))
        == "rounding"
    )


@pytest.mark.parametrize(
    "text", ["0", "0.005", "-0.005", "-0.004", "12.345", "-12.345", "99.995", "7/3", "-1/3"]
)
def test_numbers_are_shown_as_decimal_rounds_them(text: str) -> None:
    value = Fraction(text)
    exact = (Decimal(value.numerator) / Decimal(value.denominator)).quantize(
        Decimal("0.01"), ROUND_HALF_UP
    )
    assert Decimal(format_fraction(value)) == exact
    assert format_fraction(value, 2, sign=True)[0] in "+-" and not format_fraction(
        Fraction("-0.004")
    ).startswith("-")


def test_a_planted_discrepancy_is_found_by_every_rule_that_reads_the_cell(
    reported: PaperResults, checks: list[Check]
) -> None:
    """SGMA with R+D+N on Potsdam, 0.5 higher: summaries of the row and its gain do not follow."""

    def cell(entry: PrintedNumber) -> bool:
        place = {
            "table": "I",
            "backbone": "resnet50",
            "method": "sgma",
            "combo": "R+D+N",
            "kind": "score",
        }
        return entry.source == "sgma" and entry.has_values(**place)

    before = next(filter(cell, reported.numbers))
    other = changed(reported, cell, value=format_fraction(before.number.value + Fraction(1, 2)))
    new = named(audit_papers(other)) - named(checks)
    combos = {
        (rule, part[6:])
        for _, _, place, rule in new
        for part in place.split(";")
        if part.startswith("combo=")
    }
    assert combos == {("summary", "Average"), ("summary", "Top-1"), ("best_other", "R+D+N")}
    assert not named(checks) - named(audit_papers(other))


def test_each_kind_of_row_is_recomputed(reported: PaperResults, checks: list[Check]) -> None:
    """A derived number changed by 0.1 is one finding more, of the rule that derives it."""
    cells = {
        "summary": {
            "source": "sgma",
            "table": "III",
            "kind": "summary",
            "method": "magic",
            "backbone": "resnet50",
        },
        "difference": {
            "source": "sgma",
            "table": "VII",
            "kind": "difference",
            "variant": "sgf_only",
        },
        "relative_difference": {
            "source": "gemmnet",
            "kind": "relative_difference",
            "variant": "cgan",
        },
        "fps_is_inverse_latency": {"source": "mobanet", "metric": "FPS", "method": "manet"},
        "mean_of_class_f1": {
            "source": "mobanet",
            "table": "I",
            "metric": "mF1",
            "method": "dc_swin",
        },
        "miou_from_class_f1": {
            "source": "mobanet",
            "table": "I",
            "metric": "mIoU",
            "method": "unet",
        },
        "same_configuration": {
            "source": "mobanet",
            "table": "IV",
            "metric": "params_M",
            "variant": "full",
        },
    }
    for rule, columns in cells.items():
        first = next(cell for cell in reported.numbers if cell.has_values(**columns))
        value = format_fraction(first.number.value + Fraction(1, 10))
        other = changed(
            reported, lambda cell, key=first.key: cell.key == key, value=value, printed=value
        )
        before = sum(check.rule == rule for check in select_findings(checks))
        assert len(select_findings(RULES[rule](other))) == 1 + before, rule


def test_constant_answers_are_recognised_whatever_the_share(reported: PaperResults) -> None:
    """Scores of one class everywhere, from matrices, planted in a pair of Tables III and IV."""
    rule = RULES["constant_prediction"]
    for share in (60, 75, 88):
        scores = score(np.array([[share, 0], [100 - share, 0]]), Convention((0, 1), (0, 1)))
        tables = reported
        for table, value in {"III": scores.miou, "IV": scores.mf1}.items():
            place = {
                "source": "sgma",
                "table": table,
                "backbone": "resnet50",
                "method": "imlt",
                "combo": "S",
            }
            tables = changed(
                tables,
                lambda cell, at=place: cell.has_values(kind="score", **at),
                value=f"{100 * value:.2f}",
            )
        found = [check for check in rule(tables) if "method=imlt" in check.location]
        assert len(found) == 1 and f"q = {share}.0" in found[0].arithmetic


def test_tables_that_follow_from_their_cells_give_no_finding(reported: PaperResults) -> None:
    """SGMA's ablation of mIoU with its own Average corrected: the audit is silent about it."""
    cells = tuple(cell for cell in reported.numbers if (cell.source, cell.table) == ("sgma", "VII"))
    quiet = PaperResults(cells, {})
    found = [check for name in ("summary", "difference") for check in RULES[name](quiet)]
    assert [check.location for check in found if check.listed] == [
        "dataset=potsdam;backbone=pvt_v2_b2;method=sgma;variant=full;combo=Average;"
        "metric=mIoU;kind=summary"
    ]
    mended = changed(quiet, lambda cell: cell.value == "79.55", value="79.56", printed="79.56")
    assert not select_findings(RULES["summary"](mended))


def test_the_command_prints_rule_and_arithmetic_and_writes_the_committed_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if "SGMA paper, Table V, DELIVER" in line and "R+D," in line)
    assert "best_other" in line and "67.60 - 64.01 (magic) = +3.59" in line and "+3.72" in line
    for name in ("audit.csv", "audit.md"):
        committed = (ROOT / "results" / name).read_text()
        assert (tmp_path / name).read_text() == committed, "write it again: make audit"
    table = pd.read_csv(tmp_path / "audit.csv", dtype=str)
    assert len(table) == 183 and not table.isna().any().any()
    assert set(table["rule"]) <= {*RULES, "claim"}
    text = (tmp_path / "audit.md").read_text()
    assert text.isascii()
    # the page judges numbers, not authors
    judgements = {"wrong", "mistake", "false", "impossible", "error"}
    assert not judgements & set(re.findall("[a-z]+", text.lower()))


def broken(tmp_path: Path, name: str, old: str, new: str) -> Path:
    folder = tmp_path / "reported"
    shutil.copytree(REPORTED, folder)
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder


def test_every_printed_number_is_exact_and_stands_once(reported: PaperResults) -> None:
    assert len({entry.key for entry in reported.numbers}) == len(reported.numbers) > 1500
    kinds = {"score", "summary", "cost", "difference", "relative_difference"}
    assert {entry.kind for entry in reported.numbers} == kinds
    for entry in reported.numbers:
        assert entry.number.low < entry.number.value < entry.number.high


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("sgma_results.csv", "source,table", "paper,table", "lacks the column source"),
        ("mobanet_results.csv", "mobanet,I,vaihingen,", "mobanet,I,", "another number of values"),
    ],
)
def test_damaged_tables_are_named(
    tmp_path: Path, name: str, old: str, new: str, words: str
) -> None:
    with pytest.raises(UserError, match=words) as error:
        read_paper_results(broken(tmp_path, name, old, new))
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",least,", ",most,", "unknown form 'most'"),
        ("combo=Average |", "combo=Mean |", "selects 0 cells"),
        ("method=sgma;kind=cost;metric=FLOPs_G", "method:sgma", "dictionary update"),
        ("-0.52", "less", "holds no number"),
        (",kind=difference;backbone=pvt_v2_b2;combo=Average |", ",colour=red |", "colour"),
    ],
)
def test_damaged_claims_are_named_with_the_line(
    tmp_path: Path, reported: PaperResults, old: str, new: str, words: str
) -> None:
    with pytest.raises(UserError) as error:
        audit_papers(reported, broken(tmp_path, "claims.csv", old, new) / "claims.csv")
    assert words in str(error.value) and "line " in str(error.value)


def test_a_missing_reference_row_is_said(reported: PaperResults, tmp_path: Path) -> None:
    cells = tuple(cell for cell in reported.numbers if not cell.has_values(method="mmformer"))
    with pytest.raises(UserError, match="no row with method mmformer"):
        audit_papers(PaperResults(cells, reported.labels))
    with pytest.raises(UserError, match="No reported numbers"):
        read_paper_results(tmp_path)
