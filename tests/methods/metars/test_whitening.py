"""Covariances, their masks and the clusters, against numpy and an exhaustive search."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.metars.clusters import top_of_lowest_cluster
from methods.metars.whitening import (
    Whitening,
    content_distance,
    covariances,
    sum_of_variances,
)

EVERYWHERE = torch.ones(2, 3, dtype=torch.bool)


def normed(seed: int, *shape: int) -> Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return F.instance_norm(drawn.flatten(0, -4)).view(shape)


def best_split(values: np.ndarray, clusters: int) -> float:
    """Try every way to cut sorted distinct numbers into so many runs."""
    points = np.unique(values)
    best, top = np.inf, np.nan
    for cuts in combinations(range(1, len(points)), clusters - 1):
        total = 0.0
        for run in np.split(points, cuts):
            members = values[(values >= run[0]) & (values <= run[-1])]
            total += ((members - members.mean()) ** 2).sum()
        if total < best:
            best, top = total, points[cuts[0] - 1]
    return float(top)


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_clusters_against_an_exhaustive_search(clusters: int) -> None:
    rng = np.random.default_rng(clusters)
    for _ in range(30):
        # skewed, as variances are, with repeated zeros
        values = np.concatenate([np.zeros(rng.integers(0, 9)), rng.exponential(size=9) ** 2])
        assert top_of_lowest_cluster(values, clusters) == best_split(values, clusters)


def test_clusters_of_few_values_and_of_many() -> None:
    assert top_of_lowest_cluster(np.zeros(16), 10) == 0
    assert top_of_lowest_cluster(np.array([0.0, 0.0, 2.0]), 10) == 0
    rng = np.random.default_rng(0)
    groups = [rng.normal(10 * center, 0.1, 500) for center in range(10)]
    assert top_of_lowest_cluster(np.concatenate(groups), 10) == groups[0].max()


def test_covariances_are_numpys() -> None:
    maps = normed(0, 2, 4, 5, 6)
    for found, rows in zip(covariances(maps), maps.flatten(2).numpy(), strict=True):
        np.testing.assert_allclose(found, np.cov(rows) + 1e-5 * np.eye(4), rtol=1e-4, atol=1e-5)


def test_the_variance_of_two_sensors_is_half_their_squared_difference() -> None:
    maps = normed(0, 2, 3, 4, 5, 6)
    tables = covariances(maps.flatten(0, 1)).view(2, 3, 4, 4)
    expected = ((tables[0] - tables[1]) ** 2 / 2).sum(0)
    torch.testing.assert_close(sum_of_variances(maps, EVERYWHERE), expected)
    # of more sensors that of numpy, over those that an image has
    maps = normed(1, 4, 2, 4, 5, 6)
    there = torch.tensor([[True, True], [True, False], [False, False], [True, False]])
    tables = covariances(maps.flatten(0, 1)).view(4, 2, 4, 4).numpy()
    found = sum_of_variances(maps, there)
    np.testing.assert_allclose(found, tables[[0, 1, 3], 0].var(0, ddof=1), rtol=1e-4, atol=1e-7)


def test_masks_hold_upper_entries_above_the_lowest_cluster() -> None:
    table = torch.full((4, 4), 0.01)
    table[0, 1] = table[1, 0] = 5.0
    table[2, 3] = table[3, 2] = 9.0
    # ten clusters and four values: each is its own, and zero is the lowest
    whitening = Whitening([4])
    whitening.fit([table])
    assert torch.equal(whitening.mask_0, torch.ones(4, 4).triu(1).bool())
    big = torch.rand(64, 64, generator=torch.Generator().manual_seed(0)) ** 4
    whitening = Whitening([64])
    whitening.fit([big])
    mask = whitening.mask_0
    assert mask.any() and not mask.tril().any()
    upper = torch.ones(64, 64).triu(1).bool()
    assert big[mask].min() > big[upper & ~mask].max()
    # sensors that look alike have nothing to be removed
    maps = normed(0, 1, 3, 64, 5, 6).expand(2, -1, -1, -1, -1)
    whitening.fit([sum_of_variances(maps, EVERYWHERE)])
    assert not whitening.mask_0.any()
    assert whitening([maps], EVERYWHERE) == 0


def test_the_loss_is_the_mean_size_of_masked_covariances() -> None:
    whitening = Whitening([4, 3])
    whitening.mask_0[0, 2] = whitening.mask_0[1, 3] = whitening.mask_1[0, 1] = True
    kept = [normed(0, 2, 3, 4, 5, 6), normed(1, 2, 3, 3, 4, 4)]
    shown = torch.tensor([[True, True, False], [True, False, True]])
    total = 0.0
    for m, sample in shown.nonzero().tolist():
        first = np.cov(kept[0][m, sample].flatten(1).numpy())
        second = np.cov(kept[1][m, sample].flatten(1).numpy())
        total += (abs(first[0, 2]) + abs(first[1, 3])) / 2 + abs(second[0, 1])
    assert float(whitening(kept, shown)) == pytest.approx(total / 2 / 4, rel=1e-4)
    # the sign of a channel is no covariance's size
    signs = torch.tensor([1.0, -1, -1, 1])[:, None, None]
    torch.testing.assert_close(whitening([signs * kept[0], kept[1]], shown), whitening(kept, shown))
    # nor has a white map any
    rows = torch.linalg.qr(torch.cat([torch.ones(30, 1), torch.randn(30, 4)], 1).double())[0].T[1:]
    white = rows.reshape(1, 1, 4, 5, 6).expand(2, 3, -1, -1, -1)
    full = Whitening([4])
    full.mask_0.copy_(torch.ones(4, 4).triu(1))
    assert full([white], shown) < 1e-12


def test_contents_are_compared_pair_by_pair() -> None:
    contents = [normed(0, 3, 2, 4, 5, 6), normed(1, 3, 2, 4, 3, 3)]
    shown = torch.tensor([[True, True], [True, False], [True, True]])
    pairs = [(0, 1, 0), (0, 2, 0), (1, 2, 0), (0, 2, 1)]
    values = []
    for m, n, sample in pairs:
        for maps in contents:
            values.append(float(F.mse_loss(maps[m, sample], maps[n, sample])))
    assert float(content_distance(contents, shown)) == pytest.approx(np.mean(values), rel=1e-5)
    assert content_distance(contents, torch.eye(3, 2).bool()) == 0
