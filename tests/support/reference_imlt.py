"""One IMLT layer as the paper's description reads: full token matrices, masks, loops (dossier 2.2,
4.2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.imlt.fusion import FusionLayer, GatedFeedForward, TokenAttention


def gain_norm(tokens: Tensor, gain: Tensor) -> Tensor:
    """Layer norm with a gain only."""
    centred = tokens - tokens.mean(-1, keepdim=True)
    return gain * centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def feed_forward(block: GatedFeedForward, tokens: Tensor) -> Tensor:
    """GEGLU with residual, the exact GELU."""
    signal, gate = (gain_norm(tokens, block.norm.weight) @ block.expand.weight.t()).chunk(2, 2)
    gelu = gate * (1 + torch.erf(gate / math.sqrt(2))) / 2
    return tokens + (signal * gelu) @ block.contract.weight.t()


def attention(block: TokenAttention, tokens: Tensor, visible: Tensor) -> Tensor:
    """Self-attention block with residual, over all tokens: B x T x C, visible T x T (row sees
    column); the tokens are normed twice, then become queries, keys and values.
    """
    normed = tokens
    for norm in block.norm:
        normed = gain_norm(normed, norm.weight)
    width = tokens.shape[2] // block.heads
    keys, values = (normed @ block.key_value.weight.t()).split(tokens.shape[2], dim=2)
    queries = normed @ block.query.weight.t()
    mixed = []
    for head in range(block.heads):
        part = slice(head * width, (head + 1) * width)
        logits = queries[..., part] @ keys[..., part].transpose(1, 2) / math.sqrt(width)
        weights = torch.where(visible, logits.exp(), torch.zeros_like(logits))
        mixed.append(weights / weights.sum(2, keepdim=True) @ values[..., part])
    return tokens + torch.cat(mixed, 2) @ block.out.weight.t()


def positions(channels: int, height: int, width: int) -> Tensor:
    """Sine-cosine positions by their definition, C x h x w float64."""
    quarter = channels // 4
    result = torch.zeros(channels, height, width, dtype=torch.float64)
    for k in range(quarter):
        frequency = 1 / 10_000 ** (k / quarter)
        for y in range(height):
            result[k, y], result[quarter + k, y] = math.sin(y * frequency), math.cos(y * frequency)
        for x in range(width):
            result[2 * quarter + k, :, x], result[3 * quarter + k, :, x] = (
                math.sin(x * frequency),
                math.cos(x * frequency),
            )
    return result


def modality_attention(layer: FusionLayer, streams: list[Tensor], x: Tensor) -> Tensor:
    """2.2 (a): per position the sequence [z_m, x] attends to itself; its last row. z_m and x are B
    x P x C.
    """
    batch, count, channels = x.shape
    sequence = torch.stack([*streams, x], 2).reshape(batch * count, len(streams) + 1, channels)
    visible = torch.ones(len(streams) + 1, len(streams) + 1, dtype=torch.bool)
    return attention(layer.modality_attention, sequence, visible)[:, -1].reshape(
        batch, count, channels
    )


def masked_self_attention(layer: FusionLayer, streams: list[Tensor], x: Tensor) -> Tensor:
    """2.2 (b) over all tokens, mask[i, j] = same type or i a fusion token; the fusion rows."""
    count = x.shape[1]
    kind = torch.arange(len(streams) + 1).repeat_interleave(count)
    visible = (kind[:, None] == kind[None]) | (kind[:, None] == len(streams))
    return attention(layer.stream_attention, torch.cat([*streams, x], 1), visible)[:, -count:]


def literal_layer(layer: FusionLayer, features: dict[int, Tensor]) -> Tensor:
    """{index of modality: B x C x h x w} -> X, B x C x h x w, for maps no larger than the pooled
    keys.
    """
    batch, channels, height, width = next(iter(features.values())).shape
    grid = F.interpolate(layer.tokens, (height, width), mode="bilinear", align_corners=False)
    x = (
        (grid[0] + positions(channels, height, width))
        .reshape(channels, -1)
        .t()
        .expand(batch, -1, -1)
    )
    streams = [
        f.reshape(batch, channels, -1).transpose(1, 2) + layer.vectors[m]
        for m, f in features.items()
    ]
    x = feed_forward(layer.modality_feed_forward, modality_attention(layer, streams, x))
    x = feed_forward(layer.feed_forward, masked_self_attention(layer, streams, x))
    return x.transpose(1, 2).reshape(batch, channels, height, width)
