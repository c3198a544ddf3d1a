"""Numbers in the papers' sentences against those that they speak of: results/reported/claims.csv.

A claim names its numbers by selectors, `column=value;...`, within its own table unless a selector
names another. Selectors separated by ` | ` are alternatives that a sentence may mean; it is
supported if one of them fits.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmark.formats.files import read_csv_rows
from benchmark.papers.audit import arithmetic
from benchmark.papers.audit.checks import Check, Kind, Outcome, compare_numbers
from benchmark.papers.printed_numbers import (
    REPORTED,
    PaperResults,
    PrintedNumber,
    RoundedNumber,
    count_decimals,
    format_fraction,
)
from usererror import UserError

CLAIMS = REPORTED / "claims.csv"
COLUMNS = ("source", "table", "location", "printed", "form", "cell", "against", "statement")
Answer = tuple[RoundedNumber, str]  # what the numbers give, and the arithmetic


def check_claims(results: PaperResults, path: Path = CLAIMS) -> Iterator[Check]:
    """Check every claim of the file."""
    for line, row in enumerate(read_csv_rows(path, COLUMNS), start=2):
        try:
            yield _check_claim(results, row)
        except (AttributeError, ValueError) as error:
            raise UserError(f"{path}, line {line}: {error}; correct the row.") from error


def _check_claim(results: PaperResults, row: dict[str, str]) -> Check:
    found = re.search(r"[+-]?\d+(\.\d+)?", row["printed"])
    if not found:
        raise ValueError(f"{row['printed']!r} holds no number")
    number = RoundedNumber.from_print(found[0])
    # shown as the sentence writes it: its decimals, a sign only if it has one
    digits, sign = max(2, count_decimals(found[0])), found[0][0] in "+-"
    unit = " %" if row["printed"].endswith("%") else ""
    answers: list[tuple[Outcome, str]] = []
    words = []
    for numbers in _alternatives(results, row):
        answer, steps = _recompute(results, row["form"], *numbers)
        outcome = compare_numbers(number, answer)
        if row["form"] == "least":  # "lighter than the lightest" is right for any smaller number
            outcome = "agree" if number.value <= answer.value else "fail"
        text = format_fraction(answer.value, digits, sign) + unit
        answers.append((outcome, text))
        words.append(f"{steps} = {text}")
    # a sentence is supported by any of its readings; else the first is shown
    fitting = [answer for answer in answers if answer[0] != "fail"]
    outcome, recomputed = (fitting or answers)[0]
    kind: Kind = "rounding" if outcome == "rounding" else "statement"
    place = (row["source"], row["table"], f"text={row['location']}", row["printed"])
    text = f"{row['statement']}: printed {row['printed']}; {'; '.join(words)}"
    check = Check(*place, recomputed, outcome, kind, text, outcome != "agree", row["table"])
    return replace(check, rule="claim")


def _alternatives(results: PaperResults, row: dict[str, str]) -> Iterator[list[PrintedNumber]]:
    """Find the numbers of every alternative: one, or two where something is compared."""
    groups = [row[name].split(" | ") for name in ("cell", "against") if row[name] != "-"]
    # the first alternative of one side belongs to the first of the other
    for selectors in zip(*groups, strict=True):
        numbers = []
        for selector in selectors:
            columns = arithmetic.parse_selector(selector)
            table = columns.pop("table", row["table"])
            found = results.select_in_table(row["source"], table, **columns)
            if len(found) != 1:
                raise ValueError(f"{selector!r} selects {len(found)} cells, not one")
            numbers += found
        yield numbers


def _recompute(
    results: PaperResults, form: str, own: PrintedNumber, *rest: PrintedNumber
) -> Answer:
    """Compute what a sentence of this form should say of one number, or of one against another."""
    if form == "value":
        return own.number, f"the cell {own.paper_row}, {own.paper_column}"
    if form == "least":
        return _least_of_rivals(results, own)
    if form not in ("gain", "gain_class_f1", "ratio", "share", "percent"):
        raise ValueError(f"unknown form {form!r}")
    # a missing or third number is a mistake of the row, as an unknown form is
    (other,) = rest
    if form == "gain_class_f1":
        return _gain_by_class_f1(results, own, other)
    gain, ratio = f"{own.printed} - {other.printed}", own.number.divided_by(other.number)
    if form == "gain":
        return own.number - other.number, f"{gain} ({_differing(own, other)})"
    if form == "percent":
        words = f"100 x ({gain}) / {other.printed} ({_differing(own, other)})"
        return arithmetic.relative_change(own, other), words
    words = f"{own.printed} / {other.printed}"
    if form == "ratio":
        return ratio, words
    return ratio.map(arithmetic.WHOLE.__mul__), f"100 x {words}"


def _least_of_rivals(results: PaperResults, own: PrintedNumber) -> Answer:
    others = sorted(arithmetic.select_rivals(results, own), key=lambda other: other.number.value)
    below = []
    for other in others:
        if other.number.value < own.number.value:
            below.append(f"{other.method} {other.printed}")
    least = arithmetic.combine_numbers(min, others)
    return least, f"below it {', '.join(sorted(below))}; least, {others[0].method},"


def _gain_by_class_f1(results: PaperResults, own: PrintedNumber, other: PrintedNumber) -> Answer:
    """Subtract two mIoU, each replaced by the one that its class F1 give where they do not fit."""
    mine, words = _by_classes(results, own)
    theirs, their_words = _by_classes(results, other)
    gap = format_fraction(own.number.value - other.number.value)
    gain = f"printed cells {own.printed} - {other.printed} = {gap}"
    return mine - theirs, f"{gain}, with class F1 {words} - {their_words}"


def _by_classes(results: PaperResults, own: PrintedNumber) -> Answer:
    # the sentence may have been written from either of the two
    recomputed = arithmetic.miou_of_classes(arithmetic.select_class_f1(results, own))
    if compare_numbers(own.number, recomputed) != "fail":
        return own.number, own.printed
    return recomputed, f"{format_fraction(recomputed.value)} (printed {own.printed})"


def _differing(own: PrintedNumber, other: PrintedNumber) -> str:
    """Name the ids in which two numbers differ, of the first and of the second."""
    first, second = [], []
    for name in ("backbone", "method", "variant", "combo"):
        if getattr(own, name) != getattr(other, name):
            first.append(getattr(own, name))
            second.append(getattr(other, name))
    return f"{' '.join(first)} against {' '.join(second)}"
