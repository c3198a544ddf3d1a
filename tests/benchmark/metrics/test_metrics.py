"""Scores against scikit-learn, against hand-made cases and against algebra."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

from benchmark.metrics.confusion import (
    Absent,
    Convention,
    class_counts,
    class_mean,
    class_scores,
)
from benchmark.metrics.summaries import average_top1_last1
from tests.support.strategies import scored_cases
from tests.support.toy_records import score

FIVE = tuple(range(5))


def random_case(seed: int, labels: int = 5, pixels: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, pixels)
    guess = np.where(rng.random(pixels) < 0.6, truth, rng.integers(0, labels, pixels))
    return truth, guess


@pytest.mark.parametrize("seed", range(5))
def test_square_matrices_agree_with_scikit_learn(seed: int) -> None:
    truth, guess = random_case(seed)
    result = score(confusion_matrix(truth, guess, labels=FIVE), Convention(FIVE, FIVE))
    assert result.iou == pytest.approx(jaccard_score(truth, guess, average=None))
    assert result.miou == pytest.approx(jaccard_score(truth, guess, average="macro"))
    assert result.mf1 == pytest.approx(f1_score(truth, guess, average="macro"))
    assert result.oa == result.oa_all == pytest.approx(accuracy_score(truth, guess))


def six_labels_five_outputs(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth, guess = random_case(seed, labels=6)
    guess = np.where(guess == 5, 0, guess)  # a five-output network never says clutter
    return truth, guess, confusion_matrix(truth, guess, labels=range(6))[:, :5]


def test_ignored_clutter_is_as_if_its_pixels_did_not_exist() -> None:
    truth, guess, matrix = six_labels_five_outputs(1)
    result = score(matrix, Convention(FIVE, FIVE, ignored=(5,)))
    kept = truth != 5
    assert result.miou == pytest.approx(jaccard_score(truth[kept], guess[kept], average="macro"))
    assert result.oa == pytest.approx(accuracy_score(truth[kept], guess[kept]))
    assert result.oa_all == pytest.approx(accuracy_score(truth, guess)), (
        "clutter counts as wrong over six labels"
    )


def test_counted_clutter_is_an_error_of_the_class_it_was_taken_for() -> None:
    truth, guess = random_case(2, labels=6)
    matrix = confusion_matrix(truth, guess, labels=range(6))
    result = score(matrix, Convention(tuple(range(6)), FIVE))
    assert result.iou == pytest.approx(
        jaccard_score(truth, guess, average=None, labels=range(6))[:5]
    )


def test_absent_classes_under_each_convention() -> None:
    # class 0 perfect; class 1 absent but guessed once; class 2 absent and never guessed
    matrix = np.array([[9, 1, 0], [0, 0, 0], [0, 0, 0]])
    labels = (0, 1, 2)
    expected = {"exclude": (0.9, 1), "union": ((0.9 + 0) / 2, 2), "zero": (0.9 / 3, 3)}
    for absent, (miou, classes) in expected.items():
        result = score(matrix, Convention(labels, labels, absent=absent))  # type: ignore[arg-type]
        assert result.miou == pytest.approx(miou) and result.classes == classes


def test_outputs_may_come_in_another_order_than_labels() -> None:
    truth, guess = random_case(3)
    matrix = confusion_matrix(truth, guess, labels=FIVE)
    order = [3, 1, 4, 0, 2]
    assert score(matrix[:, order], Convention(tuple(order), FIVE)) == score(
        matrix, Convention(FIVE, FIVE)
    )


def test_counts_beyond_float32_are_not_lost() -> None:
    big = 2**24
    matrix = np.array([[big + 1, 0], [0, 1]])
    assert score(matrix, Convention((0, 1), (0, 1))).oa == 1.0
    assert score(np.array([[big, 1], [0, 1]]), Convention((0, 1), (0, 1))).oa < 1.0


def test_summary_is_mean_best_and_worst() -> None:
    # SGMA, ISPRS PVT-v2-b2 row (sgma dossier, section 14): Average 79.55, Top-1 86.84, Last-1 57.05
    row = [83.51, 57.05, 76.06, 86.62, 84.25, 82.56, 86.84]
    assert average_top1_last1(row) == pytest.approx((79.55, 86.84, 57.05), abs=0.011)


def test_an_empty_matrix_gives_nan_not_zero() -> None:
    result = score(np.zeros((2, 2), int), Convention((0, 1), (0, 1)))
    assert np.isnan(result.miou) and np.isnan(result.oa)


@given(scored_cases())
def test_any_matrix_agrees_with_scikit_learn_under_any_convention(
    case: tuple[Convention, np.ndarray],
) -> None:
    """Every cell of the matrix is a sample with its count as weight."""
    convention, (matrix,) = case
    kept = [label for label in range(len(matrix)) if label not in convention.ignored]
    true, guess = (part.ravel() for part in np.meshgrid(kept, convention.outputs, indexing="ij"))
    weight = matrix[kept].ravel()
    evidence = {
        label: (weight[true == label].sum(), weight[guess == label].sum())
        for label in convention.averaged
    }
    labels = {
        "exclude": [label for label, (there, _) in evidence.items() if there],
        "union": [label for label, (there, guessed) in evidence.items() if there + guessed],
        "zero": [*evidence] if any(there for there, _ in evidence.values()) else [],
    }[convention.absent]
    result = score(matrix, convention)
    assert result.classes == len(labels)
    if labels:
        settings = {
            "labels": labels,
            "average": "macro",
            "sample_weight": weight,
            "zero_division": 0,
        }
        assert result.miou == pytest.approx(jaccard_score(true, guess, **settings))
        assert result.mf1 == pytest.approx(f1_score(true, guess, **settings))
        each = dict(zip(convention.averaged, zip(result.iou, result.f1, strict=True), strict=True))
        settings["average"] = None
        assert [each[label][0] for label in labels] == pytest.approx(
            jaccard_score(true, guess, **settings)
        )
        assert [each[label][1] for label in labels] == pytest.approx(
            f1_score(true, guess, **settings)
        )
    else:
        assert np.isnan(result.miou) and np.isnan(result.mf1)
    if weight.any():
        assert result.oa == pytest.approx(accuracy_score(true, guess, sample_weight=weight))


@given(scored_cases(number=6))
def test_many_matrices_at_once_score_as_one_by_one(case: tuple[Convention, np.ndarray]) -> None:
    convention, matrices = case
    matrices = matrices.reshape(2, 3, *matrices.shape[1:])
    iou, f1, used = class_scores(class_counts(matrices, convention), convention.absent)
    for place in np.ndindex(2, 3):
        alone = score(matrices[place], convention)
        assert iou[place] == pytest.approx(alone.iou, nan_ok=True) and f1[place] == pytest.approx(
            alone.f1, nan_ok=True
        )
        assert class_mean(iou, used)[place] == pytest.approx(alone.miou, nan_ok=True)
        assert class_mean(f1, used)[place] == pytest.approx(alone.mf1, nan_ok=True)


@given(scored_cases(), st.randoms(use_true_random=False))
def test_renaming_classes_changes_no_score(
    case: tuple[Convention, np.ndarray], random: Random
) -> None:
    convention, (matrix,) = case
    name = np.array(random.sample(range(len(matrix)), len(matrix)))  # label -> its new id
    renamed = np.zeros_like(matrix)
    renamed[name] = matrix
    other = Convention(
        *(
            tuple(int(name[label]) for label in part)
            for part in (convention.outputs, convention.averaged)
        ),
        ignored=tuple(int(name[label]) for label in convention.ignored),
        absent=convention.absent,
    )
    one, two = score(matrix, convention), score(renamed, other)
    for part in ("miou", "mf1", "oa", "oa_all", "iou", "f1"):
        assert getattr(one, part) == pytest.approx(getattr(two, part), nan_ok=True), part


@given(scored_cases(number=2))
def test_class_counts_of_halves_add_up(case: tuple[Convention, np.ndarray]) -> None:
    convention, halves = case
    whole = class_counts(halves.sum(0), convention)
    for parts, sums in zip(class_counts(halves, convention), whole, strict=True):
        assert np.array_equal(parts.sum(0), sums)


@given(scored_cases(), st.integers(2, 1000))
def test_more_of_the_same_changes_no_score(case: tuple[Convention, np.ndarray], times: int) -> None:
    convention, (matrix,) = case
    one, two = score(matrix, convention), score(times * matrix, convention)
    assert (one.miou, one.mf1, one.oa) == pytest.approx((two.miou, two.mf1, two.oa), nan_ok=True)


@given(scored_cases())
def test_macro_f1_lies_between_mean_iou_and_its_transform(
    case: tuple[Convention, np.ndarray],
) -> None:
    convention, (matrix,) = case
    result = score(matrix, convention)
    assert (
        np.isnan(result.miou)
        or result.miou - 1e-12 <= result.mf1 <= 2 * result.miou / (1 + result.miou) + 1e-12
    )


def test_what_was_not_scored_has_no_score_under_any_rule() -> None:
    rules: list[Absent] = ["exclude", "zero", "union"]
    for absent in rules:
        assert np.isnan(
            score(np.zeros((2, 2), int), Convention((0, 1), (0, 1), absent=absent)).miou
        )
