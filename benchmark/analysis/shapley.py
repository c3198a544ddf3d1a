"""Shapley values, interactions and expected scores from the scores of all subsets of modalities.

The modalities of a dataset are the players of a cooperative game; the value of a coalition is the
score of that subset. All of it is exact, since every subset is scored. Scores are in per cent, so
values are in points.

A game is an array `(..., 2^M)`: bit m of a position says that modality m is there. Two modalities,
of which R alone scores 40, D alone 30 and both 60:

    position    0b00  0b01  0b10  0b11
    modalities  none     R     D   R+D
    score          0    40    30    60

In the order R, D, R adds 40 and D the other 20; in the order D, R, D adds 30 and R the other 30.
The Shapley values are the means over both orders, (40 + 30) / 2 = 35 for R and (20 + 30) / 2 = 25
for D. They sum to 60. Together the two score 60, which is 10 less than 40 + 30: the interaction is
-10.

Example:
    >>> game = as_game(np.array([40.0, 30.0, 60.0]), subset_bitmasks(["R", "D", "R+D"])[1])
    >>> game.tolist()
    [0.0, 40.0, 30.0, 60.0]
    >>> shapley_values(game).tolist(), float(shapley_interactions(game)[0, 1])
    ([35.0, 25.0], -10.0)
    >>> round(float(expected_score(game, p=0.1)), 2)  # (0.81 x 60 + 0.09 x (40 + 30)) / 0.99
    55.45
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import factorial

import numpy as np
from numpy.polynomial import polynomial

from benchmark.metrics.confusion import Floats


def subset_bitmasks(subsets: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    """Find the letters of the modalities, and each subset's position in a game."""
    letters = tuple(max(subsets, key=lambda name: name.count("+")).split("+"))
    masks = []
    for name in subsets:
        masks.append(sum(1 << letters.index(letter) for letter in name.split("+")))
    if sorted(masks) != list(range(1, 2 ** len(letters))):
        raise ValueError(f"{', '.join(subsets)} are not all subsets of {'+'.join(letters)}")
    return letters, masks


def as_game(scores: Floats, masks: Sequence[int], empty: Floats | float = 0.0) -> Floats:
    """Sort scores `(..., subsets)`, in the order of `masks`, into games; `empty` is position 0."""
    # the position is the bitmask, so that unions of coalitions are bitwise or
    game = np.empty((*scores.shape[:-1], len(masks) + 1))
    game[..., 0] = empty
    game[..., list(masks)] = scores
    return game


def count_modalities(game: Floats) -> int:
    """Count the modalities M of games `(..., 2^M)`."""
    return game.shape[-1].bit_length() - 1


def shapley_values(game: Floats) -> Floats:
    """Compute the Shapley value of each modality, `(..., M)`.

    The mean over all orders of arrival of what a modality adds when it comes. The values of all
    modalities sum to the score of the full set less that of the empty one (Shapley, A Value for
    n-Person Games, 1953).
    """
    count = count_modalities(game)
    values = np.zeros((*game.shape[:-1], count))
    for modality in range(count):
        for others, weight in _coalitions_without(count, 1 << modality):
            gain = game[..., others | 1 << modality] - game[..., others]
            values[..., modality] += weight * gain
    return values


def value_spread(values: Floats) -> Floats:
    """Measure how unlike the values `(..., M)` of the modalities are, `(..., 2)`.

    First the largest less the smallest, then their standard deviation (of all M, no sample): both
    are 0 where every modality is worth the same.

    Example:
        >>> value_spread(np.array([35.0, 25.0])).tolist()
        [10.0, 5.0]
    """
    return np.stack([np.ptp(values, axis=-1), values.std(-1)], -1)


def shapley_interactions(game: Floats) -> Floats:
    """Compute the Shapley interaction index of each pair, `(..., M, M)`, nan on the diagonal.

    Positive where two modalities add more together than apart, negative where one stands in for
    the other (Grabisch and Roubens, An axiomatic approach to the concept of interaction among
    players in cooperative games, 1999).
    """
    count = count_modalities(game)
    index = np.full((*game.shape[:-1], count, count), np.nan)
    for a, b in combinations(range(count), 2):
        value = np.zeros(game.shape[:-1])
        first, second = 1 << a, 1 << b
        for others, weight in _coalitions_without(count, first | second):
            together = game[..., others | first | second] + game[..., others]
            apart = game[..., others | first] + game[..., others | second]
            value += weight * (together - apart)
        index[..., a, b] = index[..., b, a] = value
    return index


def _coalitions_without(count: int, members: int) -> Iterator[tuple[int, float]]:
    """Find coalitions, and the share of the orders in which exactly they come before `members`."""
    # the members are counted as one arrival
    arrivals = count - members.bit_count() + 1
    for others in range(2**count):
        if not others & members:
            size = others.bit_count()
            yield others, factorial(size) * factorial(arrivals - size - 1) / factorial(arrivals)


def expected_score(game: Floats, p: float | Floats, conditional: bool = True) -> Floats:
    """Compute the expected score when each modality fails independently with probability p.

    This is mIoU^E_EMM of Liao et al., Benchmarking Multi-modal Semantic Segmentation under Sensor
    Failures, CVPR Workshops 2025 (their mIoU^Avg_EMM is Average here). That their condition is ours
    is inferred: CMNeXt's printed values at p = 0.05, 0.1 and 0.2, solved for its score of the full
    set, give the published one under this reading only.

    Several p add a last axis; p = 1 is the limit: one modality alone, each as likely. Conditional
    is on at least one modality being left; else losing everything counts 0.
    """
    count, chance = count_modalities(game), np.asarray(p, float)
    # all sets but the empty one have the probability 1 - p^M, of which the factor 1 - p is gone
    numerator = polynomial.polyval(chance, np.moveaxis(expected_score_polynomial(game), -1, 0))
    score = numerator / polynomial.polyval(chance, np.ones(count))
    return np.asarray(score if conditional else score * (1 - chance**count))


def expected_score_polynomial(game: Floats) -> Floats:
    """Compute the numerator of the expected score, coefficients `(..., M)`, lowest power first.

    The conditional expected score is this polynomial in p over 1 + p + ... + p^(M-1), which is the
    same for all games and positive.
    """
    count = count_modalities(game)
    sizes = list(map(int.bit_count, range(2**count)))
    terms = []
    for size in range(1, count + 1):
        # numerator and denominator of sum over S of (1-p)^|S| p^(M-|S|) v(S) / (1 - p^M) share the
        # factor 1 - p; without it p = 1 is no exception
        weight = polynomial.polypow([1, -1], size - 1)
        shifted = polynomial.polymul(weight, [0] * (count - size) + [1])
        total = game[..., np.equal(sizes, size)].sum(-1)
        terms.append(total[..., None] * shifted)
    return np.sum(terms, axis=0)


def break_even_probabilities(first: Floats, second: Floats, tolerance: float = 1e-9) -> list[float]:
    """Find the p in (0, 1) at which the expected scores of two games change order, ascending."""
    difference = expected_score_polynomial(first) - expected_score_polynomial(second)
    scale = np.abs(difference).max()
    if not scale > tolerance:  # the same curve, or a subset without a score (nan)
        return []
    # a leading coefficient of rounding alone would make a root far away
    trimmed = polynomial.polytrim(difference / scale, tolerance)
    roots = polynomial.polyroots(trimmed)
    real = np.sort(roots.real[np.abs(roots.imag) < 1e-6])
    inside = real[(real > 1e-9) & (real < 1 - 1e-9)]
    # only roots at which the sign changes: it is looked up half-way between neighbours
    edges = np.array([0.0, *inside, 1.0])
    signs = np.sign(polynomial.polyval((edges[:-1] + edges[1:]) / 2, trimmed))
    found: list[float] = inside[signs[:-1] * signs[1:] < 0].tolist()
    return found
