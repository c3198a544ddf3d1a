"""MAGIC's selection (ASM): which modality agrees most and which least with the fused map.

Nothing here is differentiable or has parameters; gradients flow through the maps that are picked.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.precision import at_least_float32, no_autocast


class Selection(NamedTuple):
    """The ranking of M modalities in each of B samples."""

    scores: Tensor  # float32 (M, B), cosine similarity to the fused map, in [-1, 1]
    top: Tensor  # B int64: the most similar ("robust") modality
    last: Tensor  # B int64: the least similar ("fragile"), not `top` wherever a sample has two
    rest: Tensor  # bool (M, B): present and neither of the two
    pair: Tensor  # B bool: the sample has at least two modalities


@torch.no_grad()
def cosine_similarities(fused: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
    """Average cos(f_se (B, C, H, W), f_m (M, B, C, H, W)) over scales: (M, B)."""
    with no_autocast(fused[0].device):
        pairs = zip(fused, maps, strict=True)
        scores = []
        for mean, one in pairs:
            rows = at_least_float32(one).flatten(2), at_least_float32(mean).flatten(1)[None]
            scores.append(F.cosine_similarity(*rows, dim=2))
        return torch.stack(scores).mean(0).clamp(-1.0, 1.0)


def select_modalities(scores: Tensor, present: Tensor | None = None) -> Selection:
    """Rank the modalities of each sample by scores (M, B); `present` bool (M, B), None = all."""
    have = torch.ones_like(scores, dtype=torch.bool) if present is None else present
    pair = have.sum(0) > 1
    top = scores.masked_fill(~have, float("-inf")).argmax(0)
    # top-1 is robust, last-1 fragile; what is left over must agree (L_C)
    best = F.one_hot(top, len(scores)).bool().t()
    # where all scores are equal argmin would find `top` again
    last = torch.where(pair, scores.masked_fill(~have | best, float("inf")).argmin(0), top)
    worst = F.one_hot(last, len(scores)).bool().t()
    return Selection(scores, top, last, have & ~best & ~worst, pair)


def pick_modality(maps: Tensor, index: Tensor) -> Tensor:
    """Each sample's own modality: (M, B, C, H, W), B -> (B, C, H, W)."""
    return maps[index, torch.arange(len(index), device=index.device)]
