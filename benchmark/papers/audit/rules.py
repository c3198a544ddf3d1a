"""Rules that recompute what papers derive from their own printed numbers.

Each rule walks over the numbers that it derives anew and yields a check of each. Arithmetic is
exact (fractions); scores are per cent.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from statistics import mean

from benchmark.papers.audit import arithmetic
from benchmark.papers.audit.checks import (
    Check,
    Kind,
    check_bound,
    check_equal,
    check_not_below,
    check_number,
    compare_numbers,
)
from benchmark.papers.printed_numbers import (
    ABSOLUTE,
    PaperResults,
    PrintedNumber,
    RoundedNumber,
    format_fraction,
)

CLASSES = {"potsdam": 5, "vaihingen": 5, "dfc2023": 2, "deliver": 25}
# tables of SGMA that print the mF1 of the configurations whose mIoU another table prints
TWINS = {"II": "I", "IV": "III", "VI": "V", "VIII": "VII"}
COMPARED = ("I", "II", "III", "IV", "V", "VI")  # SGMA's tables of rivals; VII, VIII: its ablations
RIVALS = ("mmformer", "shaspec")  # of GEMMNet; ae and cgan are its baselines
BEST_OTHER = "method=best_other"
Pair = tuple[PrintedNumber, PrintedNumber]


def _check_summaries(results: PaperResults) -> Iterator[Check]:
    """Average, Top-1 and Last-1 are the mean, the largest and the smallest score of the row."""
    shared = ("dataset", "backbone", "method", "variant", "metric")
    for summary in results.select_all(kind="summary"):
        row = results.select_like(summary, *shared, kind="score")
        if not row:  # a table that prints summaries alone
            continue
        if summary.combo == "Average":
            yield check_equal(summary, arithmetic.combine_numbers(mean, row), _mean_words(row))
        else:
            word, extreme = {"Top-1": ("largest", max), "Last-1": ("smallest", min)}[summary.combo]
            words = f"{word} of {_join_printed(', ', row)}"
            yield check_equal(summary, arithmetic.combine_numbers(extreme, row), words)


def _check_gains_over_best(results: PaperResults) -> Iterator[Check]:
    """A gain over the best other method is the row's score minus the largest other score of the
    column (cost: smallest).
    """
    for gain in results.select_all(reference=BEST_OTHER):
        # the gain stands in the row of the score that it belongs to
        own = results.require_like(gain, ABSOLUTE)
        others = arithmetic.select_rivals(results, own)
        best = arithmetic.best_of(others)
        extreme: Callable[[Sequence[Fraction]], Fraction] = min if own.kind == "cost" else max
        expected = own.number - arithmetic.combine_numbers(extreme, others)
        check = check_equal(gain, expected, f"{own.printed} - {best.printed} ({best.method})")
        if check.outcome == "fail":
            needed = format_fraction(own.number.value - gain.number.value)
            remark = f"; {gain.printed} would go with {needed} in place of {best.printed}"
            check = replace(check, arithmetic=check.arithmetic + remark)
        yield check


def _check_differences(results: PaperResults) -> Iterator[Check]:
    """A difference is the row's score minus that of the row it is taken against."""
    for gap in results.select_all(kind="difference"):
        if gap.reference != BEST_OTHER:
            own, other = _minuend_and_subtrahend(results, gap)
            yield check_equal(gap, own.number - other.number, f"{own.printed} - {other.printed}")


def _check_relative_differences(results: PaperResults) -> Iterator[Check]:
    """A relative change is in per cent of the baseline's printed score."""
    for gap in results.select_all(kind="relative_difference"):
        own, other = _minuend_and_subtrahend(results, gap)
        words = f"100 x ({own.printed} - {other.printed}) / {other.printed}"
        yield check_equal(gap, arithmetic.relative_change(own, other), words)


def _check_means_of_class_f1(results: PaperResults) -> Iterator[Check]:
    """mF1 is the mean of the F1 of the classes."""
    for score, classes in _with_class_f1(results, "mF1"):
        yield check_equal(score, arithmetic.combine_numbers(mean, classes), _mean_words(classes))


def _check_mious_from_class_f1(results: PaperResults) -> Iterator[Check]:
    """On one pooled confusion matrix mIoU is the mean of F / (2 - F)."""
    tables: dict[tuple[str, str], list[Check]] = {}
    above: dict[tuple[str, str], set[bool]] = {}
    for score, classes in _with_class_f1(results, "mIoU"):
        expected = arithmetic.miou_of_classes(classes)
        words = f"mean of 100 F / (200 - F) for F = {_join_printed(', ', classes)}"
        key = score.source, score.table
        tables.setdefault(key, []).append(check_equal(score, expected, words))
        above.setdefault(key, set()).add(score.number.value > expected.value)
    for key, checks in tables.items():
        # all rows of a table off to the same side: a habit of scoring rather than of single cells
        if len(above[key]) == 1 and all(check.outcome == "fail" for check in checks):
            side = "larger" if True in above[key] else "smaller"
            remark = f"; the printed value is {side} in all {len(checks)} rows"
            for check in checks:
                yield replace(check, kind="pattern", arithmetic=check.arithmetic + remark)
        else:
            yield from checks


def _check_upper_bounds(results: PaperResults) -> Iterator[Check]:
    """On one confusion matrix with mean IoU m the mean F1 is at most 2m / (1 + m)."""
    for f1, miou in _twin_numbers(results):
        fraction = f"200 x {miou.printed} / (100 + {miou.printed})"
        words = f"mIoU {miou.printed} (Table {miou.table}): {fraction}"
        yield check_bound(f1, miou.number.map(arithmetic.f1_of_iou), words, upper=True)


def _check_lower_bounds(results: PaperResults) -> Iterator[Check]:
    """On one confusion matrix over K classes with K m = n + x, n whole and x < 1, the mean F1 is
    at least (n + 2x / (1 + x)) / K.
    """
    for f1, miou in _twin_numbers(results):
        classes = CLASSES[f1.dataset]
        perfect, rest = divmod(classes * miou.number.value, arithmetic.WHOLE)
        words = (
            f"mIoU {miou.printed} (Table {miou.table}), K = {classes}, {perfect} classes at 100 "
            f"and one at IoU {format_fraction(rest)}: "
            f"({100 * perfect} + {format_fraction(arithmetic.f1_of_iou(rest))}) / {classes}"
        )
        bound = miou.number.map(partial(arithmetic.lowest_f1, classes=classes))
        yield check_bound(f1, bound, words, upper=False)


def _check_transformed_mious(results: PaperResults) -> Iterator[Check]:
    """A mean F1 equals 2m / (1 + m) only where all classes have the same IoU."""
    tables: dict[str, list[Check]] = {}
    for f1, miou in _twin_numbers(results):
        words = f"200 x {miou.printed} / (100 + {miou.printed})"
        check = check_equal(f1, miou.number.map(arithmetic.f1_of_iou), words)
        tables.setdefault(f1.table, []).append(replace(check, listed=False))
    for table, checks in tables.items():
        # one cell that is no transform shows that the table was not made this way
        if any(check.outcome == "fail" for check in checks):
            continue
        yield from checks
        number, equal = len(checks), sum(check.outcome == "agree" for check in checks)
        words = f"all {number} cells equal 200 m / (100 + m) of the mIoU m in Table {TWINS[table]}"
        words += f": {equal} as printed, {number - equal} within rounding"
        whole = (checks[0].paper, table, "kind=score", str(number), str(number))
        yield Check(*whole, "agree", "pattern", words, listed=True)


def _check_constant_predictions(results: PaperResults) -> Iterator[Check]:
    """A pair with mIoU = q / K and mF1 = 2q / (1 + q) / K is what one class everywhere gives, q
    being its share.
    """
    for f1, miou in _twin_numbers(results):
        classes = CLASSES[f1.dataset]
        share, low = classes * miou.number.value, classes * miou.number.low
        # up to one perfect class the smallest macro F1 is that of a single class that is not zero
        expected = miou.number.map(partial(arithmetic.lowest_f1, classes=classes))
        if share <= 0 or low > arithmetic.WHOLE or compare_numbers(f1.number, expected) == "fail":
            continue
        value = format_fraction(expected.value)
        words = (
            f"mIoU {miou.printed} (Table {miou.table}), K = {classes}: q = "
            f"{format_fraction(share)} %, 200 q / (100 + q) / {classes} = {value}; "
            f"printed {f1.printed}"
        )
        yield check_number(f1, value, "agree", "pattern", words, listed=True, counted="")


def _check_repeated_configurations(results: PaperResults) -> Iterator[Check]:
    """One configuration printed in several tables has one value."""
    # the location is everything but the table
    groups: dict[tuple[str, str], list[PrintedNumber]] = {}
    for number in results.numbers:
        if number.kind in ABSOLUTE:
            groups.setdefault((number.source, number.location), []).append(number)
    for first, *others in groups.values():
        if others:
            # one check per configuration, of the number that is furthest from the first
            apart = [abs(other.number.value - first.number.value) for other in others]
            tables = "/".join(number.table for number in (first, *others))
            furthest = others[apart.index(max(apart))]
            yield check_equal(furthest, first.number, f"Table {first.table}", counted=tables)


def _check_rates(results: PaperResults) -> Iterator[Check]:
    """Images per second are 1000 over milliseconds per image."""
    for rate in results.select_all(metric="FPS"):
        latency = results.require_like(rate, ("cost",), metric="latency_ms")
        expected = RoundedNumber(*[Fraction(1000)] * 3).divided_by(latency.number)
        yield check_equal(rate, expected, f"1000 / {latency.printed}")


def _check_added_modalities(results: PaperResults) -> Iterator[Check]:
    """Adding a modality does not lower the score (stated for SGMA in Sec. IV-C2; looked up for
    GEMMNet's table).
    """
    for score in results.select_all(kind="score"):
        sgma = _is_compared_sgma(score)
        if not sgma and score.source != "gemmnet":
            continue
        letters = score.combo.split("+")  # a single letter leaves "", which no number has
        for letter in letters:
            rest = "+".join(other for other in letters if other != letter)
            if smaller := results.find_like(score, combo=rest):
                kind: Kind = "statement" if sgma else "pattern"
                yield check_not_below(score, smaller, f"{rest} alone", kind)


def _check_wins(results: PaperResults) -> Iterator[Check]:
    """The proposed method scores higher than the rivals it is said to surpass (SGMA: the best
    other of the column; GEMMNet: mmFormer and ShaSpec in mF1 and mIoU); a tie does not count as
    higher.
    """
    for score in results.select_all(kind="score"):
        # SGMA is said to be best of all, GEMMNet to surpass two named methods
        rivals: list[PrintedNumber] = []
        if _is_compared_sgma(score):
            rivals = [arithmetic.best_of(arithmetic.select_rivals(results, score))]
        elif score.method == "gemmnet" and score.metric in ("mF1", "mIoU"):
            rivals = [results.require_like(score, method=name, variant="-") for name in RIVALS]
        for other in rivals:
            name = other.method
            yield check_not_below(score, other, name, "statement", strict=True, rival=name)


def _check_gains_over_baselines(results: PaperResults) -> Iterator[Check]:
    """GEMMNet is not below its own baseline (stated for all classes where only RGIR is given;
    looked up elsewhere).
    """
    for score in results.select_all(method="gemmnet", kind="score"):
        name = score.variant
        baseline = results.require_like(score, method=name, variant="-")
        stated = score.combo == "I" and score.metric.startswith("F1/")
        kind: Kind = "statement" if stated else "pattern"
        yield check_not_below(score, baseline, name, kind, rival=name)


def _is_compared_sgma(score: PrintedNumber) -> bool:
    return score.source == score.method == "sgma" and score.table in COMPARED


def _minuend_and_subtrahend(results: PaperResults, gap: PrintedNumber) -> Pair:
    reference = arithmetic.parse_selector(gap.reference)
    return results.require_like(gap, ABSOLUTE), results.require_like(gap, ABSOLUTE, **reference)


def _with_class_f1(
    results: PaperResults, metric: str
) -> Iterator[tuple[PrintedNumber, list[PrintedNumber]]]:
    for score in results.select_all(metric=metric, kind="score"):
        if classes := arithmetic.select_class_f1(results, score):
            yield score, classes


def _twin_numbers(results: PaperResults) -> Iterator[Pair]:
    for table, twin in TWINS.items():
        for f1 in results.select_in_table("sgma", table, metric="mF1", kind="score"):
            yield f1, results.require_like(f1, table=twin, metric="mIoU")


def _join_printed(separator: str, numbers: Sequence[PrintedNumber]) -> str:
    return separator.join(entry.printed for entry in numbers)


def _mean_words(numbers: Sequence[PrintedNumber]) -> str:
    return f"({_join_printed(' + ', numbers)}) / {len(numbers)}"


# the names are those of the committed files; the docstring of a rule is what the audit's page says
RULES: dict[str, Callable[[PaperResults], Iterator[Check]]] = {
    "summary": _check_summaries,
    "best_other": _check_gains_over_best,
    "difference": _check_differences,
    "relative_difference": _check_relative_differences,
    "mean_of_class_f1": _check_means_of_class_f1,
    "miou_from_class_f1": _check_mious_from_class_f1,
    "macro_f1_upper_bound": _check_upper_bounds,
    "macro_f1_lower_bound": _check_lower_bounds,
    "f1_is_transform_of_miou": _check_transformed_mious,
    "same_configuration": _check_repeated_configurations,
    "fps_is_inverse_latency": _check_rates,
    "constant_prediction": _check_constant_predictions,
    "more_modalities_not_worse": _check_added_modalities,
    "beats_rival": _check_wins,
    "gain_over_baseline": _check_gains_over_baselines,
}
