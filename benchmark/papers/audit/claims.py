"""Numbers in the papers' sentences against the cells that they speak of: results/reported/claims.csv.

A claim names its cells by selectors, `column=value;...`, within its own table unless a selector names another. Several
selectors, separated by ` | `, are the cells that a sentence may mean; it is supported if one of them fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from benchmark.papers.audit.checks import Check, Outcome, compare
from benchmark.papers.audit.rules import WHOLE, class_f1, miou_of_classes, rivals
from benchmark.papers.printed_numbers import (
    CLAIMS,
    REPORTED,
    Cell,
    Reported,
    Rounded,
    combined,
    decimals,
    read_rows,
    shown,
)
from usererror import UserError

FIELDS = ("source", "table", "location", "printed", "form", "cell", "against", "statement")
Answer = tuple[Rounded, str]  # what the cells give, and the arithmetic


def check_claims(reported: Reported, path: Path = REPORTED / CLAIMS) -> Iterator[Check]:
    """One check per claim.

    Raises:
        UserError: a form is unknown, a printed text holds no number, or a selector does not name exactly one cell.
    """
    for line, row in enumerate(read_rows(path, FIELDS), start=2):
        try:
            yield _check(reported, row)
        except ValueError as error:
            raise UserError(f"{path}, line {line}: {error}; correct the row.") from error


def _check(reported: Reported, row: dict[str, str]) -> Check:
    number = re.search(r"[+-]?\d+(\.\d+)?", row["printed"])
    if number is None:
        raise ValueError(f"{row['printed']!r} holds no number")
    if row["form"] not in FORMS:
        raise ValueError(f"unknown form {row['form']!r}; valid are: {', '.join(FORMS)}")
    printed = Rounded.printed(number[0])
    answers = [FORMS[row["form"]](reported, *cells) for cells in _cells(reported, row)]
    outcomes = [_outcome(row["form"], printed, answer) for answer, _ in answers]
    fits = next((i for i, outcome in enumerate(outcomes) if outcome != "fail"), 0)
    unit = " %" if row["printed"].endswith("%") else ""
    sign = number[0][0] in "+-"

    def text(value: Fraction) -> str:
        return shown(value, max(2, decimals(number[0])), sign) + unit

    cells = "; ".join(f"{arithmetic} = {text(answer.value)}" for answer, arithmetic in answers)
    return Check(
        row["source"],
        row["table"],
        f"text={row['location']}",
        "claim",
        row["printed"],
        text(answers[fits][0].value),
        outcomes[fits],
        "rounding" if outcomes[fits] == "rounding" else "statement",
        outcomes[fits] != "agree",
        f"{row['statement']}: printed {row['printed']}; {cells}",
        row["table"],
    )


def _outcome(form: str, printed: Rounded, answer: Rounded) -> Outcome:
    if form == "least":
        return "agree" if printed.value <= answer.value else "fail"
    return compare(printed, answer)


def _cells(reported: Reported, row: dict[str, str]) -> Iterator[list[Cell]]:
    """The cells of every alternative: one, or two where something is compared against another."""
    groups = [row[name].split(" | ") for name in ("cell", "against") if row[name] != "-"]
    if len({len(group) for group in groups}) != 1:
        raise ValueError("cell and against name different numbers of alternatives")
    for selectors in zip(*groups, strict=True):
        yield [_one(reported, row, selector) for selector in selectors]


def _one(reported: Reported, row: dict[str, str], selector: str) -> Cell:
    try:
        columns = dict(part.split("=") for part in selector.split(";"))
        found = reported.select(row["source"], columns.pop("table", row["table"]), **columns)
    except (AttributeError, ValueError) as error:
        raise ValueError(f"{selector!r} is not of the form column=value;...") from error
    if len(found) != 1:
        raise ValueError(f"{selector!r} selects {len(found)} cells of {row['source']}, not one")
    return found[0]


def _value(reported: Reported, cell: Cell) -> Answer:
    return cell.number, f"the cell {cell.paper_row}, {cell.paper_column}"


def _least(reported: Reported, cell: Cell) -> Answer:
    others = rivals(reported, cell)
    lowest = min(others, key=lambda other: other.number.value)
    lower = sorted(
        f"{other.method} {other.printed}"
        for other in others
        if other.number.value < cell.number.value
    )
    return combined(
        [other.number for other in others], min
    ), f"below it {', '.join(lower)}; least, {lowest.method},"


def _gain(reported: Reported, cell: Cell, other: Cell) -> Answer:
    return (
        cell.number - other.number,
        f"{cell.printed} - {other.printed} ({_differing(cell, other)})",
    )


def _ratio(reported: Reported, cell: Cell, other: Cell) -> Answer:
    return cell.number.over(other.number), f"{cell.printed} / {other.printed}"


def _share(reported: Reported, cell: Cell, other: Cell) -> Answer:
    share = cell.number.over(other.number).map(lambda ratio: WHOLE * ratio)
    return share, f"100 x {cell.printed} / {other.printed}"


def _percent(reported: Reported, cell: Cell, other: Cell) -> Answer:
    change = cell.number.over(other.number).map(lambda ratio: WHOLE * (ratio - 1))
    return (
        change,
        f"100 x ({cell.printed} - {other.printed}) / {other.printed} ({_differing(cell, other)})",
    )


def _gain_class_f1(reported: Reported, cell: Cell, other: Cell) -> Answer:
    """A gain in mIoU; a printed mIoU that the class F1 of its row do not give is replaced by the one they give."""
    (own, own_text), (rival, rival_text) = (
        _from_classes(reported, cell),
        _from_classes(reported, other),
    )
    gain = f"printed cells {cell.printed} - {other.printed} = {shown(cell.number.value - other.number.value)}"
    return own - rival, f"{gain}, with class F1 {own_text} - {rival_text}"


def _from_classes(reported: Reported, cell: Cell) -> Answer:
    recomputed = miou_of_classes(class_f1(reported, cell))
    if compare(cell.number, recomputed) != "fail":
        return cell.number, cell.printed
    return recomputed, f"{shown(recomputed.value)} (printed {cell.printed})"


def _differing(cell: Cell, other: Cell) -> str:
    """The ids in which two cells differ, of the first and the second, to say what is compared."""
    names = [
        name
        for name in ("backbone", "method", "variant", "combo")
        if getattr(cell, name) != getattr(other, name)
    ]
    own = " ".join(getattr(cell, name) for name in names)
    return f"{own} against {' '.join(getattr(other, name) for name in names)}"


FORMS: dict[str, Callable[..., Answer]] = {
    "value": _value,
    "least": _least,
    "gain": _gain,
    "gain_class_f1": _gain_class_f1,
    "ratio": _ratio,
    "share": _share,
    "percent": _percent,
}
