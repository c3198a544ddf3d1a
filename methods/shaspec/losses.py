"""The two auxiliary objectives of ShaSpec: distribution alignment and domain classification."""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.precision import at_least_float32

Pairs = Literal["all", "ring"]


def alignment_loss(shared: Sequence[Tensor], present: Tensor, pairs: Pairs = "all") -> Tensor:
    """DAO (paper eq. 8, L1): how far the modalities' shared features r, (B, C, h, w), lie apart.

    A pair counts for a sample that has both, bool (M, B); one without a pair counts 0 in the mean.
    `all` averages a sample's pairs; `ring` sums those of neighbours, the last with the first, as
    released (dossier S4; with two modalities the only pair counts twice).
    """
    count = len(shared)
    ring = [(i, (i + 1) % count) for i in range(count)]
    chosen = list(combinations(range(count), 2)) if pairs == "all" else ring
    chosen = chosen or [(0, 0)]  # one modality: 0
    maps = [at_least_float32(features) for features in shared]
    # eq. 8 with the L1 distance, the best of the paper's four
    apart = torch.stack([(maps[i] - maps[k]).abs().mean((1, 2, 3)) for i, k in chosen])
    both = torch.stack([present[i] & present[k] for i, k in chosen])
    total = torch.where(both, apart, 0.0).sum(0)
    return (total if pairs == "ring" else total / both.sum(0).clamp(min=1)).mean()


def domain_classification(
    scores: Sequence[Tensor], indices: Sequence[int], present: Tensor
) -> Tensor:
    """DCO (paper eq. 5): mean cross-entropy of telling the modality from its specific features.

    `scores` are per modality the classifier's logits (B, M), `indices` which of the M each is; only
    samples that are `present`, bool (M, B), count.
    """
    logits = at_least_float32(torch.stack(list(scores)))
    # eq. 5: the label of a feature is the modality it comes from
    truth = torch.tensor(indices, device=logits.device)[:, None].expand(logits.shape[:2])
    losses = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none")
    return torch.where(present, losses.view_as(present), 0.0).sum() / present.sum()
