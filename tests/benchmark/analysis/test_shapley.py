"""Shapley values, interactions and expected scores against axioms, enumeration and simulation."""

from __future__ import annotations

from itertools import combinations, permutations, product
from random import Random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmark.analysis.shapley import (
    as_game,
    break_even_probabilities,
    count_modalities,
    expected_score,
    shapley_interactions,
    shapley_values,
    subset_bitmasks,
)
from tests.support.strategies import CHANCE, WORTH, games

TINY = 1e-8  # of rounding, where worths of up to 100 are added and multiplied


def random_game(seed: int, count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-10, 100, (*shape, 2**count))


def additive_game(weights: np.ndarray, empty: float = 0.0) -> np.ndarray:
    count = len(weights)
    return np.array(
        [empty + sum(weights[m] for m in range(count) if mask >> m & 1) for mask in range(2**count)]
    )


def relabelled(game: np.ndarray, order: list[int]) -> np.ndarray:
    """The game in which player m is player order[m] of the given one."""
    count = len(order)
    return np.array(
        [
            game[sum(1 << order[m] for m in range(count) if mask >> m & 1)]
            for mask in range(2**count)
        ]
    )


@given(games())
def test_shapley_is_the_mean_contribution_over_all_orders(several: np.ndarray) -> None:
    (game,) = several
    count = count_modalities(game)
    expected = np.zeros(count)
    orders = list(permutations(range(count)))
    for order in orders:
        mask = 0
        for player in order:
            expected[player] += game[mask | 1 << player] - game[mask]
            mask |= 1 << player
    assert shapley_values(game) == pytest.approx(expected / len(orders), abs=TINY)


@given(games(number=2), st.randoms(use_true_random=False), WORTH)
def test_shapley_axioms(several: np.ndarray, random: Random, times: float) -> None:
    game, other = several
    count = count_modalities(game)
    assert shapley_values(game).sum() == pytest.approx(game[-1] - game[0], abs=TINY), "efficiency"
    order = random.sample(range(count), count)
    assert shapley_values(relabelled(game, order)) == pytest.approx(
        shapley_values(game)[order], abs=TINY
    ), "anonymity"
    added = shapley_values(game) + times * shapley_values(other)
    assert shapley_values(game + times * other) == pytest.approx(added, abs=TINY), "linearity"
    dummy = np.concatenate(
        [game, game + times]
    )  # a further player that adds the same to whatever there is
    assert shapley_values(dummy) == pytest.approx([*shapley_values(game), times], abs=TINY), "dummy"
    assert np.array_equal(shapley_values(several), [shapley_values(game), shapley_values(other)]), (
        "many games at once"
    )


@given(games(fewest=2))
def test_players_that_add_the_same_everywhere_are_worth_the_same(several: np.ndarray) -> None:
    (game,) = several
    count = count_modalities(game)
    order = [1, 0, *range(2, count)]
    symmetric = (game + relabelled(game, order)) / 2
    values = shapley_values(symmetric)
    assert values[0] == pytest.approx(values[1], abs=TINY)


@given(
    games(fewest=2),
    st.randoms(use_true_random=False),
    st.lists(WORTH, min_size=5, max_size=5),
    WORTH,
)
def test_interaction_axioms(
    several: np.ndarray, random: Random, weights: list[float], worth: float
) -> None:
    (game,) = several
    count = count_modalities(game)
    pairs = list(combinations(range(count), 2))
    index = shapley_interactions(game)
    assert index == pytest.approx(index.T, nan_ok=True)
    order = random.sample(range(count), count)
    moved = shapley_interactions(relabelled(game, order))
    expected = [index[order[a], order[b]] for a, b in pairs]
    assert [moved[a, b] for a, b in pairs] == pytest.approx(expected, abs=TINY)
    additive = shapley_interactions(additive_game(np.array(weights[:count]), empty=3))
    assert [additive[a, b] for a, b in pairs] == pytest.approx([0] * len(pairs), abs=TINY)
    dummy = shapley_interactions(np.concatenate([game, game + worth]))
    assert [dummy[m, count] for m in range(count)] == pytest.approx([0] * count, abs=TINY)


@given(games(fewest=2, most=4))
def test_interaction_is_the_difference_of_shapley_values_with_and_without_the_other(
    several: np.ndarray,
) -> None:
    """Grabisch and Roubens: I_ab = merged pair's value - a's value without b - b's without a."""
    (game,) = several
    count = count_modalities(game)
    for a, b in combinations(range(count), 2):
        rest = [m for m in range(count) if m not in (a, b)]

        def part(members: list[list[int]]) -> np.ndarray:
            chosen = [
                sum(
                    1 << m for member, bit in zip(members, bits, strict=True) if bit for m in member
                )
                for bits in (
                    tuple(mask >> i & 1 for i in range(len(members)))
                    for mask in range(2 ** len(members))
                )
            ]
            return game[chosen]

        singles = [[m] for m in rest]
        merged = shapley_values(part([[a, b], *singles]))[0]
        alone = shapley_values(part([[a], *singles]))[0] + shapley_values(part([[b], *singles]))[0]
        assert shapley_interactions(game)[a, b] == pytest.approx(merged - alone, abs=TINY)


def test_two_sensors_that_only_work_together_and_two_that_stand_in_for_each_other() -> None:
    together, either = np.array([0.0, 0, 0, 60]), np.array([0.0, 60, 60, 60])
    assert shapley_values(together).tolist() == shapley_values(either).tolist() == [30, 30]
    assert (shapley_interactions(together)[0, 1], shapley_interactions(either)[0, 1]) == (60, -60)


@given(games(), st.floats(0, 0.99))
@example(np.arange(8.0)[None], 0.05)
def test_expected_score_by_enumeration(several: np.ndarray, p: float) -> None:
    (game,) = several
    total = chance = 0.0
    for there in product([False, True], repeat=count_modalities(game)):
        if not any(there):
            continue
        weight = float(np.prod([1 - p if sensor else p for sensor in there]))
        total += weight * game[sum(1 << m for m, sensor in enumerate(there) if sensor)]
        chance += weight
    assert expected_score(game, p) == pytest.approx(total / chance, abs=TINY)
    assert expected_score(game, p, conditional=False) == pytest.approx(total, abs=TINY)


@given(games(number=2), CHANCE, WORTH)
def test_expected_score_at_its_ends_and_in_between(
    several: np.ndarray, p: float, times: float
) -> None:
    game, other = several
    singles = [1 << modality for modality in range(count_modalities(game))]
    assert expected_score(game, 0.0) == pytest.approx(game[-1], abs=TINY), "nothing fails"
    assert expected_score(game, 1.0) == pytest.approx(game[singles].mean(), abs=TINY), (
        "the limit: one is left"
    )
    assert expected_score(game, 1.0, conditional=False) == 0
    mixed = expected_score(game, p) + times * expected_score(other, p)
    assert expected_score(game + times * other, p) == pytest.approx(mixed, abs=TINY), "linearity"
    assert game[1:].min() - TINY <= expected_score(game, p) <= game[1:].max() + TINY, (
        "a weighted mean"
    )
    game[0] = times
    assert expected_score(game, p) == pytest.approx(expected_score(several, p)[0], abs=TINY), (
        "no part of it is empty"
    )


def test_expected_score_by_simulation_and_at_its_ends() -> None:
    game = random_game(3, 3)
    there = np.random.default_rng(0).random((400_000, 3)) >= 0.3
    values = game[(there * [1, 2, 4]).sum(1)][there.any(1)]
    assert expected_score(game, 0.3) == pytest.approx(values.mean(), abs=0.2)
    assert expected_score(game, 0.0) == pytest.approx(game[7]), "nothing fails"
    assert expected_score(game, 1.0) == pytest.approx(game[[1, 2, 4]].mean()), (
        "the limit: one is left"
    )
    assert expected_score(game, np.array([0.1, 0.2])).tolist() == [
        expected_score(game, 0.1),
        expected_score(game, 0.2),
    ]


def test_printed_expectations_hold_given_that_a_sensor_is_left() -> None:
    """CMNeXt on DELIVER as printed by Liao et al. 2025: mean of 15 subsets, and at three p.

    The four numbers determine the sums of the scores by size of the subset; that of size four is
    the score of the full set, 66.30 in CMNeXt's own paper. It comes out under the conditional
    reading, and does not under the plain sum.
    """
    printed = {None: 37.90, 0.2: 54.46, 0.1: 60.41, 0.05: 63.38}
    games = np.array(
        [[mask.bit_count() == size for mask in range(16)] for size in (1, 2, 3, 4)], float
    )
    for conditional in (True, False):
        rows = [
            games[:, 1:].mean(1) if p is None else expected_score(games, p, conditional)
            for p in printed
        ]
        inverse = np.linalg.inv(np.array(rows))[3]
        rounding = np.abs(inverse).sum() * 0.005
        assert (abs(inverse @ list(printed.values()) - 66.30) <= rounding) == conditional


@pytest.mark.parametrize("seed", range(40))
def test_crossings_are_where_a_fine_grid_changes_its_sign(seed: int) -> None:
    count = 2 + seed % 3
    first, second = random_game(seed, count), random_game(seed + 500, count)
    grid = np.linspace(0, 1, 20_001)
    signs = np.sign(expected_score(first, grid) - expected_score(second, grid))
    brackets = [(grid[i], grid[i + 1]) for i in np.flatnonzero(signs[:-1] * signs[1:] < 0)]
    found = break_even_probabilities(first, second)
    assert len(found) == len(brackets)
    for root, (low, high) in zip(found, brackets, strict=True):
        assert low <= root <= high
        assert expected_score(first, root) == pytest.approx(expected_score(second, root), abs=1e-8)
    assert break_even_probabilities(second, first) == pytest.approx(found)


def test_a_crossing_that_is_known_and_curves_that_only_touch() -> None:
    # two sensors: (singles p + full (1 - p)) / (1 + p), with 20 + 20 and 80 or 40 + 40 and 60
    strong, robust = np.array([0.0, 20, 20, 80]), np.array([0.0, 40, 40, 60])
    assert break_even_probabilities(strong, robust) == pytest.approx([1 / 3])
    assert break_even_probabilities(strong, strong) == []
    assert break_even_probabilities(strong, strong + [0, 1, 1, 1]) == []
    assert break_even_probabilities(strong, np.array([0, np.nan, 1, 1])) == []
    # three sensors, difference (1 - p)^2 - 2 p (1 - p) + p^2 = (1 - 2p)^2: it touches 0 at 1/2
    base = np.full(8, 50.0)
    touching = base + np.array([0, 1, 0, -2, 0, 0, 0, 1.0])
    assert break_even_probabilities(touching, base) == []


def test_subsets_find_their_place_whatever_their_order() -> None:
    letters, places = subset_bitmasks(["R+N", "R", "N"])
    assert letters == ("R", "N")
    assert as_game(np.array([3.0, 1.0, 2.0]), places, empty=9).tolist() == [9, 1, 2, 3]
    with pytest.raises(ValueError, match="not all subsets"):
        subset_bitmasks(["R", "D", "R+D+N"])
