"""IMLT's contrastive term between fusion tokens and modality streams; training only."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.imlt.fusion import TOKEN_STD
from methods.parts.precision import at_least_float32
from usererror import UserError

Reduce = Literal["mean", "sum"]
# inner width of the pooling's MLP (dossier 2.7: 0.296 M at a width of 192)
MLP_RATIO = 4


class AttentionPool(nn.Module):
    """Pool tokens by one learned query per modality: attention without biases, residual MLP.

    The norm of the tokens, which the authors' trunk ends with, also precedes the MLP; the query
    has a norm of its own (both with a gain only).
    """

    def __init__(self, channels: int, modalities: int, heads: int = 8) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise UserError(
                f"pool_heads {heads} does not divide the {channels} channels of the coarsest scale."
            )
        self.heads = heads
        self.queries = nn.Parameter(TOKEN_STD * torch.randn(modalities, channels))
        # everything but the queries is shared by the modalities and by the fusion stream
        self.norm = nn.LayerNorm(channels, bias=False)
        self.query_norm = nn.LayerNorm(channels, bias=False)
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(channels, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        inner = MLP_RATIO * channels
        first, second = nn.Linear(channels, inner), nn.Linear(inner, channels)
        self.mlp = nn.Sequential(first, nn.GELU(), second)
        weights = [self.query.weight, *self.key_value.weight.chunk(2), self.out.weight]
        for weight in (*weights, first.weight, second.weight):
            nn.init.xavier_uniform_(weight)
        for layer in (first, second):
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor, modalities: list[int]) -> Tensor:
        """Tokens (B, P, C) and n indices of queries -> (B, n, C)."""
        keys, values = self.key_value(self.norm(tokens)).chunk(2, dim=-1)
        # the whole parameter takes part whatever is picked, so every process of a distributed run
        # has its gradient
        queries = self.query(self.query_norm(self.queries[modalities])).expand(len(tokens), -1, -1)
        parts = [
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (queries, keys, values)
        ]
        pooled = self.out(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        return pooled + self.mlp(self.norm(pooled))


def distillation_loss(
    fused: Tensor, targets: Tensor, student: float = 0.1, teacher: float = 0.04
) -> Tensor:
    """Compute -<softmax(g / teacher), log softmax(h / student)>, g detached: (B, n).

    h are the pooled fusion tokens, g the modalities', both (B, n, C) and L2-normalised here.
    """
    # as in DINO: sharp teacher, detached, softer student
    h, g = (F.normalize(at_least_float32(part), dim=-1) for part in (fused, targets.detach()))
    return -((g / teacher).softmax(-1) * (h / student).log_softmax(-1)).sum(-1)


def info_nce(fused: Tensor, targets: Tensor, present: Tensor, temperature: float = 0.1) -> Tensor:
    """Symmetric InfoNCE over the batch, per modality among the samples that have it: (B, n).

    h and g are (B, n, C), `present` bool (B, n); what the others hold is finite and means nothing.
    """
    h, g = (
        F.normalize(at_least_float32(part), dim=-1).transpose(0, 1) for part in (fused, targets)
    )
    similarities = h @ g.transpose(1, 2) / temperature
    own = torch.eye(len(fused), dtype=torch.bool, device=fused.device)
    # the diagonal stays, so that no row is empty
    hidden = ~(present.t()[:, None] | own)
    diagonal = similarities.diagonal(dim1=1, dim2=2)
    both = (similarities, similarities.transpose(1, 2))
    losses = [pairs.masked_fill(hidden, float("-inf")).logsumexp(2) - diagonal for pairs in both]
    return (losses[0] + losses[1]).t() / 2


def over_subsets(losses: Tensor, present: Tensor, reduce: Reduce) -> Tensor:
    """Reduce (B, n) losses over the modalities a sample has, bool (B, n), then average samples."""
    totals = losses.masked_fill(~present, 0).sum(1)
    return (totals / present.sum(1) if reduce == "mean" else totals).mean()
