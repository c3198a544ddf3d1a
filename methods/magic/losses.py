"""MAGIC's targets for the selection branch, and consistency among the modalities left over."""

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.precision import at_least_float32


def filtered_targets(logits: Tensor, mask: Tensor, ignore_index: int = 255) -> Tensor:
    """Keep the labels that the logits (B, K, H, W) get right, `ignore_index` elsewhere (Y')."""
    return torch.where(logits.detach().argmax(1) == mask, mask, torch.full_like(mask, ignore_index))


def symmetric_divergence(first: Tensor, second: Tensor, dim: int) -> Tensor:
    """Sum p log(2p / (p + q)) + q log(2q / (p + q)) over `dim`: twice Jensen-Shannon.

    Half precision is computed in float32; a probability that underflows to 0 contributes 0.
    """
    first, second = at_least_float32(first), at_least_float32(second)
    # log of the mean distribution, without leaving the log domain
    middle = torch.logaddexp(first, second) - torch.log(first.new_tensor(2.0))
    return (first.exp() * (first - middle) + second.exp() * (second - middle)).sum(dim)


def _mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of `values` over the entries `chosen`; 0 with a graph where there are none."""
    return torch.where(chosen, values, 0.0).sum() / chosen.sum().clamp(min=1)


def pair_consistency(log_probabilities: Tensor, rest: Tensor, dim: int = 1) -> Tensor:
    """Average the divergence of every two `rest` modalities, bool (M, B); 0 where there are none.

    Of log probabilities (M, B, ...), normalised along `dim` of a sample batch (B, ...).
    """
    pairs = list(combinations(range(len(rest)), 2))
    values = []
    for i, j in pairs:
        apart = symmetric_divergence(log_probabilities[i], log_probabilities[j], dim)
        values.append(apart.reshape(len(apart), -1).mean(1))
    chosen = torch.stack([rest[i] & rest[j] for i, j in pairs])
    return _mean_where(torch.stack(values), chosen)


def channel_correlations(maps: Tensor, salient: Tensor) -> Tensor:
    """Compute log softmax over channels of the cosine over pixels, (M, B, C)."""
    rows = at_least_float32(maps).flatten(3), at_least_float32(salient).flatten(2)[None]
    cosines = F.cosine_similarity(*rows, dim=3)
    # the paper takes logarithms of correlations, which can be negative: the softmax is ours
    return cosines.log_softmax(2)


def correlation_consistency(maps: Tensor, salient: Tensor, rest: Tensor) -> Tensor:
    """L_C: the rest modalities should correlate alike with the salient map, class by class.

    `maps` is f_m, (M, B, C, H, W), `salient` f_sa, (B, C, H, W), `rest` bool (M, B).
    """
    return pair_consistency(channel_correlations(maps, salient), rest)


def map_consistency(maps: Tensor, rest: Tensor) -> Tensor:
    """Compare the rest maps' class distributions pixel by pixel, instead of L_C."""
    return pair_consistency(at_least_float32(maps).log_softmax(2), rest)


def rest_to_salient(maps: Tensor, salient: Tensor, rest: Tensor) -> Tensor:
    """Pull the one rest map of a sample towards the detached salient map."""
    # the salient map teaches, so no gradient reaches it
    target = at_least_float32(salient.detach()).log_softmax(1)
    values = []
    for one in at_least_float32(maps).log_softmax(2):
        values.append(symmetric_divergence(one, target, 1).flatten(1).mean(1))
    return _mean_where(torch.stack(values), rest & (rest.sum(0) == 1))
