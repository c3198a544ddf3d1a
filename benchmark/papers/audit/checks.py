"""One check of one printed number: what was recomputed, whether it follows, and the arithmetic in words."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from benchmark.papers.printed_numbers import Cell, Rounded, decimals, shown

Outcome = Literal["agree", "rounding", "fail"]
Kind = Literal["differs", "no matrix", "statement", "pattern", "rounding"]
KINDS: dict[Kind, str] = {
    "differs": "the printed number is further from the recomputed one than rounding of the inputs allows",
    "no matrix": "no single confusion matrix gives both printed numbers",
    "statement": "a sentence of the paper gives or implies something else than the printed cells do",
    "pattern": "no discrepancy by itself; it matters for what the number may be compared with",
    "rounding": "the last digit differs and rounding of the inputs explains it",
}


@dataclass(frozen=True)
class Check:
    """A printed number beside what follows from other printed numbers.

    Attributes:
        location: `column=value;...`, which selects the cell in its table (`rival=` names the other side of a
            comparison), `text=<section>` for a sentence, or `kind=score` for a whole table.
        printed, recomputed: as text, with the decimals shown to readers.
        outcome: `agree` within half a unit of the last printed digit, `rounding` if rounded inputs explain the rest.
        kind: what a finding of this check is.
        listed: whether it is a finding, to be printed.
        counted: the table under which it is counted (`I/VII` for a comparison of tables); empty if it is not counted.
        cell: the printed cell; None for a sentence or a whole table.
    """

    paper: str
    table: str
    location: str
    rule: str
    printed: str
    recomputed: str
    outcome: Outcome
    kind: Kind
    listed: bool
    arithmetic: str
    counted: str
    cell: Cell | None = None


def compare(printed: Rounded, expected: Rounded) -> Outcome:
    """Whether a printed number follows from others, exactly or within their rounding."""
    if abs(printed.value - expected.value) <= printed.high - printed.value:
        return "agree"
    return "rounding" if printed.low <= expected.high and expected.low <= printed.high else "fail"


def equality(
    rule: str,
    cell: Cell,
    expected: Rounded,
    arithmetic: str,
    kind: Kind = "differs",
    counted: str = "",
) -> Check:
    """A cell that should equal a number; the arithmetic is completed with the result."""
    outcome = compare(cell.number, expected)
    recomputed = _text(cell, expected.value)
    return Check(
        cell.source,
        cell.table,
        cell.location,
        rule,
        cell.printed,
        recomputed,
        outcome,
        "rounding" if outcome == "rounding" else kind,
        outcome != "agree",
        f"{arithmetic} = {recomputed}; printed {cell.printed}, {_apart(cell, expected.value)}",
        counted or cell.table,
        cell,
    )


def bounded(rule: str, cell: Cell, bound: Rounded, arithmetic: str, upper: bool) -> Check:
    """A cell that a bound holds from above or below; exceeding it by rounding alone is no finding."""
    number, sign = cell.number, 1 if upper else -1
    ends = (number.low, bound.high) if upper else (bound.low, number.high)
    if sign * number.value <= sign * bound.value:
        outcome: Outcome = "agree"
    else:
        outcome = "rounding" if ends[0] <= ends[1] else "fail"
    recomputed = _text(cell, bound.value)
    return Check(
        cell.source,
        cell.table,
        cell.location,
        rule,
        cell.printed,
        recomputed,
        outcome,
        "no matrix",
        outcome == "fail",
        f"{arithmetic} = {recomputed}, the {'largest' if upper else 'smallest'} macro F1; "
        f"printed {cell.printed}, {_apart(cell, bound.value)}",
        cell.table,
        cell,
    )


def ordered(
    rule: str, cell: Cell, other: Cell, kind: Kind, name: str, strict: bool, rival: str = ""
) -> Check:
    """A cell that should not be below another of the same paper; the two are compared as they are printed."""
    gap = cell.number.value - other.number.value
    holds = gap > 0 if strict else gap >= 0
    return Check(
        cell.source,
        cell.table,
        cell.location + (f";rival={rival}" if rival else ""),
        rule,
        cell.printed,
        other.printed,
        "agree" if holds else "fail",
        kind,
        not holds,
        f"{cell.printed} - {other.printed} ({name}) = {shown(gap, sign=True)}",
        cell.table,
        cell,
    )


def _text(cell: Cell, value: Fraction) -> str:
    return shown(
        value, max(2, decimals(cell.value)), sign=cell.kind not in ("score", "summary", "cost")
    )


def _apart(cell: Cell, value: Fraction) -> str:
    """How far the printed number is from another one: more digits where two would show 0.00."""
    gap = cell.number.value - value
    return f"difference {shown(gap, 2 if abs(gap) >= Fraction(1, 100) else 4, sign=True)}"
