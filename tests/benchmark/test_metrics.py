"""Scores against scikit-learn, against hand-made cases and against algebra."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

from benchmark.metrics import Convention, score, summarise

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
    assert result.oa_all == pytest.approx(accuracy_score(truth, guess)), "clutter counts as wrong over six labels"


def test_counted_clutter_is_an_error_of_the_class_it_was_taken_for() -> None:
    truth, guess = random_case(2, labels=6)
    matrix = confusion_matrix(truth, guess, labels=range(6))
    result = score(matrix, Convention(tuple(range(6)), FIVE))
    assert result.iou == pytest.approx(jaccard_score(truth, guess, average=None, labels=range(6))[:5])


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
    assert score(matrix[:, order], Convention(tuple(order), FIVE)) == score(matrix, Convention(FIVE, FIVE))


def test_macro_f1_is_bounded_by_the_transform_of_mean_iou() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        result = score(rng.integers(0, 100, (5, 5)), Convention(FIVE, FIVE))
        assert result.mf1 <= 2 * result.miou / (1 + result.miou) + 1e-12


def test_counts_beyond_float32_are_not_lost() -> None:
    big = 2**24
    matrix = np.array([[big + 1, 0], [0, 1]])
    assert score(matrix, Convention((0, 1), (0, 1))).oa == 1.0
    assert score(np.array([[big, 1], [0, 1]]), Convention((0, 1), (0, 1))).oa < 1.0


def test_summary_is_mean_best_and_worst() -> None:
    # SGMA, ISPRS PVT-v2-b2 row (sgma dossier, section 14): Average 79.55, Top-1 86.84, Last-1 57.05
    row = [83.51, 57.05, 76.06, 86.62, 84.25, 82.56, 86.84]
    assert summarise(row) == pytest.approx((79.55, 86.84, 57.05), abs=0.011)


def test_an_empty_matrix_gives_nan_not_zero() -> None:
    result = score(np.zeros((2, 2), int), Convention((0, 1), (0, 1)))
    assert np.isnan(result.miou) and np.isnan(result.oa)
