"""What rules and claims compute from printed numbers, and which numbers they compare.

The bounds hold for any confusion matrix: with IoU_c = F1_c / (2 - F1_c) per class, the function
F1 = 2 IoU / (1 + IoU) is concave, so for a given mean IoU m over K classes the mean F1 is largest
when all classes are equal, 2m / (1 + m), and smallest when as many classes as possible are perfect
and the others 0.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from operator import attrgetter
from statistics import mean

from benchmark.papers.printed_numbers import PaperResults, PrintedNumber, RoundedNumber

WHOLE = Fraction(100)


def combine_numbers(
    increasing: Callable[[Sequence[Fraction]], Fraction], row: Sequence[PrintedNumber]
) -> RoundedNumber:
    """Apply a function that increases with each number, such as `max` or the mean."""
    parts = map(attrgetter("number.value", "number.low", "number.high"), row)
    return RoundedNumber(*map(increasing, zip(*parts, strict=True)))


def f1_of_iou(iou: Fraction) -> Fraction:
    """Convert IoU into F1, both in per cent."""
    return 2 * WHOLE * iou / (WHOLE + iou)


def iou_of_f1(f1: Fraction) -> Fraction:
    """Convert F1 into IoU, both in per cent."""
    return WHOLE * f1 / (2 * WHOLE - f1)


def lowest_f1(miou: Fraction, classes: int) -> Fraction:
    """Compute the smallest macro F1 of a mean IoU: floor(K m) perfect classes, one between."""
    # F1 is concave in IoU: a given sum of IoU has least F1 when it is most unequal
    perfect, rest = divmod(classes * miou, WHOLE)
    return (perfect * WHOLE + f1_of_iou(rest)) / classes


def miou_of_classes(classes: Sequence[PrintedNumber]) -> RoundedNumber:
    """Compute the mean IoU from the F1 of the classes of one pooled confusion matrix."""
    # IoU increases with F1, so that the ends of the roundings map to ends
    return combine_numbers(lambda scores: mean(map(iou_of_f1, scores)), classes)


def relative_change(own: PrintedNumber, other: PrintedNumber) -> RoundedNumber:
    """Compute the change against another number, in per cent of it."""
    return own.number.divided_by(other.number).map(lambda ratio: WHOLE * (ratio - 1))


def select_rivals(results: PaperResults, number: PrintedNumber) -> list[PrintedNumber]:
    """Select the other methods of a number's table, for the same input and metric."""
    same = results.select_like(number, "dataset", "backbone", "combo", "metric", "kind")
    return [other for other in same if other.method != number.method]


def parse_selector(text: str) -> dict[str, str]:
    """Read `column=value;...`."""
    return dict(part.split("=") for part in text.split(";"))


def best_of(numbers: Sequence[PrintedNumber]) -> PrintedNumber:
    """Pick the largest score or the smallest cost."""
    pick = min if numbers[0].kind == "cost" else max
    return pick(numbers, key=lambda entry: entry.number.value)


def select_class_f1(results: PaperResults, number: PrintedNumber) -> list[PrintedNumber]:
    """Select the F1 of the classes in the number's own row; none where the table prints none."""
    shared = ("dataset", "backbone", "method", "variant", "combo", "kind")
    row = results.select_like(number, *shared)
    return [entry for entry in row if entry.metric.startswith("F1/")]
