"""Checks of printed numbers: what was recomputed, whether it follows, the arithmetic in words."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from benchmark.papers.printed_numbers import (
    ABSOLUTE,
    PrintedNumber,
    RoundedNumber,
    count_decimals,
    format_fraction,
)

# within half a unit of the last printed digit; explained by rounding of the inputs; neither
Outcome = Literal["agree", "rounding", "fail"]
Kind = Literal["differs", "no matrix", "statement", "pattern", "rounding"]
KINDS: dict[Kind, str] = {
    "differs": "the printed number is further from the recomputed one than rounding of the inputs "
    "allows",
    "no matrix": "no single confusion matrix gives both printed numbers",
    "statement": "a sentence of the paper gives or implies something else than the printed cells "
    "do",
    "pattern": "no discrepancy by itself; it matters for what the number may be compared with",
    "rounding": "the last digit differs and rounding of the inputs explains it",
}


@dataclass(frozen=True)
class Check:
    """A printed number beside what follows from other printed numbers."""

    paper: str
    table: str
    # `column=value;...`, which selects the number in its table (`rival=` names the other side of a
    # comparison), `text=<section>`, or `kind=score` for a whole table
    location: str
    printed: str
    recomputed: str
    outcome: Outcome
    kind: Kind  # what a finding of this check is
    arithmetic: str
    listed: bool  # whether it is a finding
    counted: str = ""  # the table to count it under (`I/VII` compares tables); empty: nowhere
    number: PrintedNumber | None = None  # None for a sentence or a whole table
    rule: str = ""  # filled in by the audit


def check_number(
    number: PrintedNumber, recomputed: str, outcome: Outcome, kind: Kind, words: str, **more: Any
) -> Check:
    """Make the check of a printed number; whatever does not agree is listed unless `more` says."""
    # `more` wins: a rule may list what agrees, or count it elsewhere
    texts = (number.source, number.table, number.location, number.printed, recomputed)
    listed = outcome != "agree"
    check = Check(*texts, outcome, kind, words, listed, number.table, number)
    return replace(check, **more)


def compare_numbers(printed: RoundedNumber, expected: RoundedNumber) -> Outcome:
    """Tell whether a printed number follows from others, exactly or within their rounding."""
    if abs(printed.value - expected.value) <= printed.high - printed.value:
        return "agree"
    return "rounding" if printed.low <= expected.high and expected.low <= printed.high else "fail"


def check_equal(number: PrintedNumber, expected: RoundedNumber, words: str, **more: Any) -> Check:
    """Check a number that should equal another; the words are completed with the result."""
    outcome = compare_numbers(number.number, expected)
    recomputed, gap = _format_like(number, expected.value)
    text = f"{words} = {recomputed}; printed {number.printed}, {gap}"
    kind: Kind = "rounding" if outcome == "rounding" else "differs"
    return check_number(number, recomputed, outcome, kind, text, **more)


def check_bound(number: PrintedNumber, bound: RoundedNumber, words: str, upper: bool) -> Check:
    """Check a macro F1 against a bound; to exceed it by rounding alone is no finding."""
    own = number.number
    # a bound that the roundings of both numbers can satisfy is not broken
    outcome: Outcome = "fail"
    if own.value <= bound.value if upper else own.value >= bound.value:
        outcome = "agree"
    elif own.low <= bound.high if upper else bound.low <= own.high:
        outcome = "rounding"
    recomputed, gap = _format_like(number, bound.value)
    extreme = "largest" if upper else "smallest"
    text = f"{words} = {recomputed}, the {extreme} macro F1; printed {number.printed}, {gap}"
    return check_number(number, recomputed, outcome, "no matrix", text, listed=outcome == "fail")


def check_not_below(
    number: PrintedNumber,
    other: PrintedNumber,
    name: str,
    kind: Kind,
    strict: bool = False,
    rival: str = "",
) -> Check:
    """Check that a number is not below (strict: above) another, both as they are printed."""
    # sentences compare what is printed, so that rounding is no excuse here
    gap = number.number.value - other.number.value
    outcome: Outcome = "agree" if gap > 0 or (gap == 0 and not strict) else "fail"
    text = f"{number.printed} - {other.printed} ({name}) = {format_fraction(gap, sign=True)}"
    location = number.location + (f";rival={rival}" if rival else "")
    return check_number(number, other.printed, outcome, kind, text, location=location)


def _format_like(number: PrintedNumber, value: Fraction) -> tuple[str, str]:
    """Format a value as the number is printed, and how far the printed number is from it."""
    digits = max(2, count_decimals(number.value))
    gap = number.number.value - value
    # more digits where two would show 0.00
    apart = format_fraction(gap, 2 if abs(gap) >= Fraction(1, 100) else 4, sign=True)
    text = format_fraction(value, digits, sign=number.kind not in ABSOLUTE)
    return text, f"difference {apart}"
