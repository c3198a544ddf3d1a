"""SGF as the paper's equations read: repeated queries, pixel-wise tokens, nothing fused (dossier
sections 3, 12).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.sgma.sgf import ModalityProjector, SGFScale, TokenAttention


def project(projector: ModalityProjector, features: Tensor) -> Tensor:
    """MP: three depthwise convolutions and a pointwise one, one after another in code."""
    outputs = [layer(features) for layer in projector.depthwise]
    return projector.pointwise(torch.stack(outputs).sum(0))


def linear(layer: torch.nn.Conv2d, vectors: Tensor) -> Tensor:
    return F.linear(vectors, layer.weight.flatten(1), layer.bias)


def attention(block: TokenAttention, query: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Multi-head attention, query BN x Q x C and tokens BN x M x C -> BN x Q x C, weights BN x
    heads x Q x M.
    """
    pixels, width = tokens.shape[0], tokens.shape[2] // block.heads

    def heads(vectors: Tensor) -> Tensor:
        return vectors.reshape(pixels, -1, block.heads, width).transpose(1, 2)

    q, k, v = (
        heads(linear(block.query, query)),
        heads(linear(block.key, tokens)),
        heads(linear(block.value, tokens)),
    )
    weights = (q @ k.transpose(2, 3) / width**0.5).softmax(-1)
    mixed = (weights @ v).transpose(1, 2).reshape(pixels, -1, tokens.shape[2])
    return linear(block.out, mixed), weights


def literal_sgf(scale: SGFScale, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Eqs. 3-10: {modality: B x C x H x W} -> f_SGF B x C x H x W, robustness M x B x H x W; not
    softmax prototypes.
    """
    f = [project(scale.projectors[m], feature) for m, feature in features.items()]
    batch, channels, height, width = f[0].shape
    compact = torch.cat([scale.semantic_filter(x).flatten(2) for x in f], 2)
    prototypes = compact @ torch.cat([x.flatten(2) for x in f], 2).transpose(1, 2)
    if scale.proto_norm == "mean":
        prototypes = prototypes / compact.shape[2]
    tokens = torch.stack([x.flatten(2).transpose(1, 2) for x in f], 2).reshape(
        batch * height * width, len(f), channels
    )
    repeated = (
        prototypes[:, None]
        .expand(-1, height * width, -1, -1)
        .reshape(batch * height * width, -1, channels)
    )
    slots, _ = attention(scale.sp, repeated, tokens)
    fused, weights = attention(scale.rp, slots.mean(1, keepdim=True), tokens)
    robustness = weights.mean(1)[:, 0].reshape(batch, height, width, len(f)).permute(3, 0, 1, 2)
    return fused.reshape(batch, height, width, channels).permute(0, 3, 1, 2), robustness
