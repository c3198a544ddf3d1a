"""Rules that recompute what papers derive from their own printed numbers.

Arithmetic is exact (fractions); scores are per cent. The bounds hold for any confusion matrix: with IoU_c = F1_c /
(2 - F1_c) per class, F1 = 2 IoU / (1 + IoU) is concave, so for a given mean IoU m over K classes the mean F1 is largest
when all classes are equal, 2m / (1 + m), and smallest when as many classes as possible are perfect and the others 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from operator import mul

from benchmark.papers.audit.checks import Check, Kind, bounded, compare, equality, ordered
from benchmark.papers.printed_numbers import (
    ABSOLUTE,
    Cell,
    Reported,
    Rounded,
    combined,
    mean,
    shown,
)

CLASSES = {"potsdam": 5, "vaihingen": 5, "dfc2023": 2, "deliver": 25}
# tables of one paper that print mF1 and mIoU of the same configurations
TWINS = {("sgma", "II"): "I", ("sgma", "IV"): "III", ("sgma", "VI"): "V", ("sgma", "VIII"): "VII"}
COMPARED = (
    "I",
    "II",
    "III",
    "IV",
    "V",
    "VI",
)  # SGMA's tables of rivals; VII and VIII are its ablations
RIVALS = ("mmformer", "shaspec")  # of GEMMNet; ae and cgan are its baselines
WHOLE = Fraction(100)


@dataclass(frozen=True)
class Rule:
    """A rule: its name, what it says in one sentence, and the checks it makes."""

    name: str
    says: str
    checks: Callable[[Reported], Iterator[Check]]


def f1_of_iou(iou: Fraction) -> Fraction:
    """F1 from IoU, both in per cent."""
    return 2 * WHOLE * iou / (WHOLE + iou)


def iou_of_f1(f1: Fraction) -> Fraction:
    """IoU from F1, both in per cent."""
    return WHOLE * f1 / (2 * WHOLE - f1)


def lowest_f1(miou: Fraction, classes: int) -> Fraction:
    """The smallest macro F1 that goes with a mean IoU: floor(K m) perfect classes, one between, the others 0."""
    perfect, rest = divmod(classes * miou, WHOLE)
    return (perfect * WHOLE + f1_of_iou(rest)) / classes


def summary(reported: Reported) -> Iterator[Check]:
    """Average, Top-1 and Last-1 against the subsets of the row."""
    for cell in reported.cells:
        if cell.kind != "summary":
            continue
        own = {
            name: getattr(cell, name)
            for name in ("dataset", "backbone", "method", "variant", "metric")
        }
        row = reported.select(cell.source, cell.table, kind="score", **own)
        numbers = [entry.number for entry in row]
        if cell.combo == "Average":
            terms = " + ".join(entry.printed for entry in row)
            yield equality("summary", cell, mean(numbers), f"({terms}) / {len(row)}")
        else:
            largest = cell.combo == "Top-1"
            extreme: Callable[[list[Fraction]], Fraction] = max if largest else min
            word = f"{'largest' if largest else 'smallest'} of {', '.join(entry.printed for entry in row)}"
            yield equality("summary", cell, combined(numbers, extreme), word)


def best_other(reported: Reported) -> Iterator[Check]:
    """A gain over the best of the other methods: largest score, smallest cost."""
    for cell in reported.cells:
        if cell.reference != "method=best_other":
            continue
        own = reported.need(cell, ABSOLUTE)
        others = rivals(reported, own)
        best = best_of(others)
        extreme: Callable[[list[Fraction]], Fraction] = min if own.kind == "cost" else max
        expected = own.number - combined([other.number for other in others], extreme)
        arithmetic = f"{own.printed} - {best.printed} ({best.method})"
        check = equality("best_other", cell, expected, arithmetic)
        if check.outcome == "fail":
            needed = shown(own.number.value - cell.number.value)
            remark = f"{cell.printed} would go with {needed} in place of {best.printed}"
            check = replace(check, arithmetic=f"{check.arithmetic}; {remark}")
        yield check


def difference(reported: Reported) -> Iterator[Check]:
    """A difference to a named row of the same table."""
    for cell in reported.cells:
        if cell.kind == "difference" and cell.reference != "method=best_other":
            own, other = reported.need(cell, ABSOLUTE), _reference(reported, cell)
            yield equality(
                "difference", cell, own.number - other.number, f"{own.printed} - {other.printed}"
            )


def relative_difference(reported: Reported) -> Iterator[Check]:
    """A change in per cent of the baseline's printed value."""
    for cell in reported.cells:
        if cell.kind == "relative_difference":
            own, other = reported.need(cell, ABSOLUTE), _reference(reported, cell)
            change = own.number.over(other.number).map(lambda ratio: WHOLE * (ratio - 1))
            arithmetic = f"100 x ({own.printed} - {other.printed}) / {other.printed}"
            yield equality("relative_difference", cell, change, arithmetic)


def mean_of_class_f1(reported: Reported) -> Iterator[Check]:
    """The printed mF1 against the printed F1 of the classes."""
    for cell, classes in _with_class_f1(reported, "mF1"):
        terms = " + ".join(entry.printed for entry in classes)
        expected = mean([entry.number for entry in classes])
        yield equality("mean_of_class_f1", cell, expected, f"({terms}) / {len(classes)}")


def miou_from_class_f1(reported: Reported) -> Iterator[Check]:
    """The printed mIoU against the F1 of the classes.

    Where every row of a table is off to the same side, that is a habit of scoring rather than of single cells.
    """
    tables: dict[tuple[str, str], list[tuple[Check, bool]]] = {}
    for cell, classes in _with_class_f1(reported, "mIoU"):
        terms = ", ".join(entry.printed for entry in classes)
        expected = miou_of_classes(classes)
        check = equality(
            "miou_from_class_f1", cell, expected, f"mean of 100 F / (200 - F) for F = {terms}"
        )
        above = cell.number.value > expected.value
        tables.setdefault((cell.source, cell.table), []).append((check, above))
    for members in tables.values():
        sides = {above for _, above in members}
        habit = len(sides) == 1 and all(check.outcome == "fail" for check, _ in members)
        remark = f"; the printed value is {'larger' if sides == {True} else 'smaller'} in all {len(members)} rows"
        for check, _ in members:
            yield (
                replace(check, kind="pattern", arithmetic=check.arithmetic + remark)
                if habit
                else check
            )


def miou_of_classes(classes: list[Cell]) -> Rounded:
    """Mean IoU from the F1 of the classes of one pooled confusion matrix."""
    return mean([entry.number.map(iou_of_f1) for entry in classes])


def macro_f1_upper_bound(reported: Reported) -> Iterator[Check]:
    """The printed mF1 against the largest one that the mIoU of the twin table allows."""
    for cell, miou in _twins(reported):
        arithmetic = f"mIoU {miou.printed} (Table {miou.table}): 200 x {miou.printed} / (100 + {miou.printed})"
        yield bounded(
            "macro_f1_upper_bound", cell, miou.number.map(f1_of_iou), arithmetic, upper=True
        )


def macro_f1_lower_bound(reported: Reported) -> Iterator[Check]:
    """The printed mF1 against the smallest one that the mIoU of the twin table allows."""
    for cell, miou in _twins(reported):
        classes = CLASSES[cell.dataset]
        perfect, rest = divmod(classes * miou.number.value, WHOLE)
        arithmetic = (
            f"mIoU {miou.printed} (Table {miou.table}), K = {classes}, {perfect} classes at 100 and one at IoU "
            f"{shown(rest)}: ({100 * perfect} + {shown(f1_of_iou(rest))}) / {classes}"
        )
        bound = miou.number.map(partial(lowest_f1, classes=classes))
        yield bounded("macro_f1_lower_bound", cell, bound, arithmetic, upper=False)


def f1_is_transform_of_miou(reported: Reported) -> Iterator[Check]:
    """Tables whose every mF1 is 2m / (1 + m) of the twin table's mIoU; silent about tables where one cell is not."""
    rule = "f1_is_transform_of_miou"
    for (source, table), twin in TWINS.items():
        pairs = [
            (cell, miou)
            for cell, miou in _twins(reported)
            if (cell.source, cell.table) == (source, table)
        ]
        checks = [
            equality(
                rule,
                cell,
                miou.number.map(f1_of_iou),
                f"200 x {miou.printed} / (100 + {miou.printed})",
            )
            for cell, miou in pairs
        ]
        if not checks or any(check.outcome == "fail" for check in checks):
            continue
        for check in checks:
            yield replace(check, listed=False)
        equal = sum(check.outcome == "agree" for check in checks)
        arithmetic = (
            f"all {len(checks)} cells equal 200 m / (100 + m) of the mIoU m in Table {twin}: {equal} as printed, "
            f"{len(checks) - equal} within rounding"
        )
        number = str(len(checks))
        yield Check(
            source,
            table,
            "kind=score",
            rule,
            number,
            number,
            "agree",
            "pattern",
            True,
            arithmetic,
            "",
        )


def constant_prediction(reported: Reported) -> Iterator[Check]:
    """Pairs that the answer "one class everywhere" gives: IoU = q / K, F1 = 2q / (1 + q) / K, q the class's share."""
    for cell, miou in _twins(reported):
        classes = CLASSES[cell.dataset]
        share = miou.number.map(partial(mul, classes))
        # up to one perfect class the smallest macro F1 is that of a single class which is not zero
        expected = miou.number.map(partial(lowest_f1, classes=classes))
        if share.value <= 0 or share.low > WHOLE or compare(cell.number, expected) == "fail":
            continue
        arithmetic = (
            f"mIoU {miou.printed} (Table {miou.table}), K = {classes}: q = {shown(share.value)} %, "
            f"200 q / (100 + q) / {classes} = {shown(expected.value)}; printed {cell.printed}"
        )
        recomputed = shown(expected.value)
        yield Check(
            cell.source,
            cell.table,
            cell.location,
            "constant_prediction",
            cell.printed,
            recomputed,
            "agree",
            "pattern",
            True,
            arithmetic,
            "",
            cell,
        )


def same_configuration(reported: Reported) -> Iterator[Check]:
    """One configuration that a paper prints in several tables."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in reported.cells:
        if cell.kind in ABSOLUTE:
            groups.setdefault((cell.source, cell.location), []).append(cell)
    for members in groups.values():
        if len(members) > 1:
            first, *others = members
            # one check per configuration, of the cell that is furthest from the first
            cell = max(others, key=lambda other: abs(other.number.value - first.number.value))
            tables = "/".join(member.table for member in members)
            yield equality(
                "same_configuration", cell, first.number, f"Table {first.table}", counted=tables
            )


def fps_is_inverse_latency(reported: Reported) -> Iterator[Check]:
    """Images per second against milliseconds per image."""
    for cell in reported.cells:
        if cell.metric == "FPS":
            latency = reported.need(cell, ("cost",), metric="latency_ms")
            expected = Rounded(*[Fraction(1000)] * 3).over(latency.number)
            yield equality("fps_is_inverse_latency", cell, expected, f"1000 / {latency.printed}")


def more_modalities_not_worse(reported: Reported) -> Iterator[Check]:
    """A score against those of the same row with one modality less."""
    rule = "more_modalities_not_worse"
    for cell in reported.cells:
        sgma = cell.source == "sgma" and cell.method == "sgma" and cell.table in COMPARED
        if cell.kind != "score" or not (sgma or cell.source == "gemmnet"):
            continue
        for letter in cell.combo.split("+"):
            rest = "+".join(other for other in cell.combo.split("+") if other != letter)
            smaller = reported.find(cell, combo=rest)
            if smaller is not None:
                yield ordered(
                    rule,
                    cell,
                    smaller,
                    "statement" if sgma else "pattern",
                    f"{rest} alone",
                    strict=False,
                )


def beats_rival(reported: Reported) -> Iterator[Check]:
    """Scores of the proposed method against the rivals it is said to surpass."""
    rule = "beats_rival"
    for cell in reported.cells:
        if cell.kind != "score":
            continue
        if cell.source == "sgma" and cell.method == "sgma" and cell.table in COMPARED:
            best = best_of(rivals(reported, cell))
            yield ordered(
                rule, cell, best, "statement", best.method, strict=True, rival=best.method
            )
        elif cell.method == "gemmnet" and cell.metric in ("mF1", "mIoU"):
            for name in RIVALS:
                rival = reported.need(cell, method=name, variant="-")
                yield ordered(rule, cell, rival, "statement", name, strict=True, rival=name)


def gain_over_baseline(reported: Reported) -> Iterator[Check]:
    """GEMMNet's scores against its baselines; the paper states a gain in every class where only RGIR is given."""
    for cell in reported.cells:
        if cell.method == "gemmnet" and cell.kind == "score":
            baseline = reported.need(cell, method=cell.variant, variant="-")
            stated = cell.combo == "I" and cell.metric.startswith("F1/")
            kind: Kind = "statement" if stated else "pattern"
            name = cell.variant
            yield ordered(
                "gain_over_baseline", cell, baseline, kind, name, strict=False, rival=name
            )


def rivals(reported: Reported, cell: Cell) -> list[Cell]:
    """The other methods of the cell's table, for the same input and metric."""
    columns = {
        name: getattr(cell, name) for name in ("dataset", "backbone", "combo", "metric", "kind")
    }
    return [
        other
        for other in reported.select(cell.source, cell.table, **columns)
        if other.method != cell.method
    ]


def best_of(cells: list[Cell]) -> Cell:
    """The cell with the largest score or the smallest cost."""
    pick = min if cells[0].kind == "cost" else max
    return pick(cells, key=lambda cell: cell.number.value)


def _reference(reported: Reported, cell: Cell) -> Cell:
    return reported.need(
        cell, ABSOLUTE, **dict(part.split("=") for part in cell.reference.split(";"))
    )


def _with_class_f1(reported: Reported, metric: str) -> Iterator[tuple[Cell, list[Cell]]]:
    for cell in reported.cells:
        if cell.metric == metric and cell.kind == "score":
            classes = class_f1(reported, cell)
            if classes:
                yield cell, classes


def class_f1(reported: Reported, cell: Cell) -> list[Cell]:
    """The F1 of the classes in the cell's own row; empty where the table prints none."""
    columns = {
        name: getattr(cell, name)
        for name in ("dataset", "backbone", "method", "variant", "combo", "kind")
    }
    row = reported.select(cell.source, cell.table, **columns)
    return [entry for entry in row if entry.metric.startswith("F1/")]


def _twins(reported: Reported) -> Iterator[tuple[Cell, Cell]]:
    for (source, table), twin in TWINS.items():
        for cell in reported.select(source, table, metric="mF1", kind="score"):
            yield cell, reported.need(cell, table=twin, metric="mIoU")


RULES = (
    Rule(
        "summary",
        "Average, Top-1 and Last-1 are the mean, the largest and the smallest score of the row.",
        summary,
    ),
    Rule(
        "best_other",
        "A gain over the best other method is the row's score minus the largest other score of the column (cost: "
        "smallest).",
        best_other,
    ),
    Rule(
        "difference",
        "A difference is the row's score minus that of the row it is taken against.",
        difference,
    ),
    Rule(
        "relative_difference",
        "A relative change is in per cent of the baseline's printed score.",
        relative_difference,
    ),
    Rule("mean_of_class_f1", "mF1 is the mean of the F1 of the classes.", mean_of_class_f1),
    Rule(
        "miou_from_class_f1",
        "On one pooled confusion matrix mIoU is the mean of F / (2 - F).",
        miou_from_class_f1,
    ),
    Rule(
        "macro_f1_upper_bound",
        "On one confusion matrix with mean IoU m the mean F1 is at most 2m / (1 + m).",
        macro_f1_upper_bound,
    ),
    Rule(
        "macro_f1_lower_bound",
        "On one confusion matrix over K classes with K m = n + x, n whole and x < 1, the mean F1 is at least "
        "(n + 2x / (1 + x)) / K.",
        macro_f1_lower_bound,
    ),
    Rule(
        "f1_is_transform_of_miou",
        "A mean F1 equals 2m / (1 + m) only where all classes have the same IoU.",
        f1_is_transform_of_miou,
    ),
    Rule(
        "same_configuration",
        "One configuration printed in several tables has one value.",
        same_configuration,
    ),
    Rule(
        "fps_is_inverse_latency",
        "Images per second are 1000 over milliseconds per image.",
        fps_is_inverse_latency,
    ),
    Rule(
        "constant_prediction",
        "A pair with mIoU = q / K and mF1 = 2q / (1 + q) / K is what one class everywhere gives, q being its share.",
        constant_prediction,
    ),
    Rule(
        "more_modalities_not_worse",
        "Adding a modality does not lower the score (stated for SGMA in Sec. IV-C2; looked up for GEMMNet's table).",
        more_modalities_not_worse,
    ),
    Rule(
        "beats_rival",
        "The proposed method scores higher than the rivals it is said to surpass (SGMA: the best other of the column; "
        "GEMMNet: mmFormer and ShaSpec in mF1 and mIoU); a tie does not count as higher.",
        beats_rival,
    ),
    Rule(
        "gain_over_baseline",
        "GEMMNet is not below its own baseline (stated for all classes where only RGIR is given; looked up elsewhere).",
        gain_over_baseline,
    ),
)
