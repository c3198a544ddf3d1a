"""What a sensor is worth: Shapley values, interactions and expected scores, from the scores of all subsets.

The modalities of a dataset are the players of a cooperative game; the value of a coalition is the score of that subset.
All of it is exact, since every subset is scored. Scores are in per cent, so worths are in points.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import factorial

import numpy as np
from numpy.polynomial import polynomial

from benchmark.metrics.confusion import Floats


def masks(subsets: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    """Letters of the modalities, and each subset's position in a game: bit m of it says that modality m is there.

    Raises:
        ValueError: the names are not all non-empty subsets of the longest one's letters, once each.
    """
    letters = tuple(max(subsets, key=lambda name: name.count("+")).split("+"))
    places = [sum(1 << letters.index(letter) for letter in name.split("+")) for name in subsets]
    if sorted(places) != list(range(1, 2 ** len(letters))):
        raise ValueError(f"{', '.join(subsets)} are not all subsets of {'+'.join(letters)}")
    return letters, places


def as_game(values: Floats, places: Sequence[int], empty: Floats | float = 0.0) -> Floats:
    """Scores ... x subsets (in the order of `places`) as a game ... x 2^M, whose entry 0 is the empty set's."""
    game = np.empty((*values.shape[:-1], len(places) + 1))
    game[..., 0] = empty
    game[..., list(places)] = values
    return game


def shapley(game: Floats) -> Floats:
    """Shapley value of each modality, ... x M, of games ... x 2^M.

    The mean over all orders of arrival of what a modality adds when it comes. The values of all modalities sum to the
    score of the full set less that of the empty one (Shapley, A Value for n-Person Games, 1953).
    """
    count = players(game)
    result = np.zeros((*game.shape[:-1], count))
    for modality in range(count):
        for others in _coalitions(count, {modality}):
            size = others.bit_count()
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            result[..., modality] += weight * (
                game[..., others | 1 << modality] - game[..., others]
            )
    return result


def interaction(game: Floats) -> Floats:
    """Shapley interaction index of each pair, ... x M x M with nan on the diagonal, of games ... x 2^M.

    Grabisch and Roubens, An axiomatic approach to the concept of interaction among players in cooperative games, 1999:
    positive where two modalities add more together than apart, negative where one stands in for the other.
    """
    count = players(game)
    result = np.full((*game.shape[:-1], count, count), np.nan)
    for a, b in combinations(range(count), 2):
        value = np.zeros(game.shape[:-1])
        for others in _coalitions(count, {a, b}):
            size = others.bit_count()
            weight = factorial(size) * factorial(count - size - 2) / factorial(count - 1)
            both, one, other = others | 1 << a | 1 << b, others | 1 << a, others | 1 << b
            value += weight * (
                game[..., both] - game[..., one] - game[..., other] + game[..., others]
            )
        result[..., a, b] = result[..., b, a] = value
    return result


def players(game: Floats) -> int:
    """Number of modalities of games ... x 2^M."""
    return game.shape[-1].bit_length() - 1


def _coalitions(count: int, without: set[int]) -> list[int]:
    return [mask for mask in range(2**count) if not any(mask >> player & 1 for player in without)]


def expected_score(game: Floats, p: float | Floats, conditional: bool = True) -> Floats:
    """Expected score when each modality fails independently with probability p, of games ... x 2^M.

    Conditional on at least one modality being left. The other reading, `conditional=False`, is the plain sum over the
    non-empty subsets, in which losing everything counts 0; it is 1 - p^M times the conditional one. p = 1 is the limit:
    one modality alone, each as likely. An array of p adds a last axis.

    This is mIoU^E_EMM of Liao et al., Benchmarking Multi-modal Semantic Segmentation under Sensor Failures, CVPR
    Workshops 2025 (their mIoU^Avg_EMM is Average here). That their condition is ours is inferred: CMNeXt's printed
    values at p = 0.05, 0.1 and 0.2, solved for its score of the full set, give the published one under this reading
    only.
    """
    count, chance = players(game), np.asarray(p, float)
    value = _at(numerator(game), chance) / polynomial.polyval(chance, np.ones(count))
    return np.asarray(value if conditional else value * (1 - chance**count))


def numerator(game: Floats) -> Floats:
    """Coefficients ... x M, lowest power of p first, of the conditional expected score times 1 + p + ... + p^(M-1).

    Numerator and denominator of sum over S of (1 - p)^|S| p^(M - |S|) v(S) / (1 - p^M) share the factor 1 - p; without
    it p = 1 is no exception. The denominator is the same for all games and positive.
    """
    count = players(game)
    sizes = range(1, count + 1)
    basis = [
        polynomial.polymul(polynomial.polypow([1, -1], size - 1), [0] * (count - size) + [1])
        for size in sizes
    ]
    members = [[mask for mask in range(2**count) if mask.bit_count() == size] for size in sizes]
    sums = np.stack([game[..., same].sum(-1) for same in members], -1)
    return np.asarray(sums @ np.array(basis))


def _at(coefficients: Floats, p: Floats) -> Floats:
    return np.asarray(polynomial.polyval(p, np.moveaxis(coefficients, -1, 0)))


def crossings(first: Floats, second: Floats, tolerance: float = 1e-9) -> list[float]:
    """Probabilities in (0, 1) at which the expected scores of two games change order, ascending.

    Roots of the difference of the two numerators, a polynomial of degree M - 1, at which it changes its sign; where
    the curves only touch, or are the same, there is none.
    """
    difference = numerator(first) - numerator(second)
    scale = np.abs(difference).max()
    if not scale > tolerance:  # the same curve, or a subset without a score
        return []
    trimmed = polynomial.polytrim(difference / scale, tolerance)
    roots = polynomial.polyroots(trimmed)
    inside = sorted(
        float(root.real) for root in roots if abs(root.imag) < 1e-6 and 1e-9 < root.real < 1 - 1e-9
    )
    edges = [0.0, *inside, 1.0]
    middles = [(low + high) / 2 for low, high in zip(edges[:-1], edges[1:], strict=True)]
    signs = np.sign(polynomial.polyval(np.array(middles), trimmed))
    return [
        root
        for root, before, after in zip(inside, signs[:-1], signs[1:], strict=True)
        if before * after < 0
    ]
