"""Transformer blocks on the tokens of maps, their positions, and the way back to a map.

Source: mmFormer's second public release and GEMMNet (arXiv 2509.11102, sections 3.1 and 3.2);
written anew from a description.
"""

from collections.abc import Sequence
from math import isqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TokenBlock(nn.Module):
    """One pre-norm transformer block that first adds the positions (mmFormer; GEMMNet's HyFEx).

    t <- t + P;  t <- t + drop(drop(W_o attention(LN(t)) + b_o));  t <- t + drop(W_2 drop(GELU(W_1
    LN(t)))). Queries, keys and values have no bias; dropout also acts on the attention weights; the
    GELU is exact.

    Args:
        width: D, a multiple of `heads`.
        mlp: hidden width of the feed-forward part.
    """

    def __init__(self, width: int, heads: int, mlp: int, dropout: float = 0.1) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads, self.dropout = heads, dropout
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)
        # two dropouts in a row, as released
        self.drop = nn.Sequential(nn.Dropout(dropout), nn.Dropout(dropout))
        inner = (nn.Linear(width, mlp), nn.GELU(), nn.Dropout(dropout))
        outer = (nn.Linear(mlp, width), nn.Dropout(dropout))
        self.mlp = nn.Sequential(nn.LayerNorm(width), *inner, *outer)

    def self_attention(self, tokens: Tensor) -> Tensor:
        """Multi-head self-attention (B, L, D) -> (B, L, D), before the output projection."""
        packed = self.qkv(tokens).unflatten(-1, (3, self.heads, -1))
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        dropped = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropped)
        return mixed.transpose(1, 2).flatten(2)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Tokens (B, L, D) and positions (1, L, D) -> (B, L, D)."""
        # positions are added in every block, as released
        tokens = tokens + positions
        tokens = tokens + self.drop(self.proj(self.self_attention(self.norm(tokens))))
        return tokens + self.mlp(tokens)


def resized_table(table: Tensor, grid: Sequence[int]) -> Tensor:
    """Resize the position table of a square grid, (1, g*g, D) -> (1, h*w, D), bicubically."""
    side = isqrt(table.shape[1])
    if side * side != table.shape[1]:
        raise ValueError(f"a table of {table.shape[1]} positions is not one of a square grid")
    if (side, side) == tuple(grid):
        return table
    square = table.transpose(1, 2).unflatten(2, (side, side))
    return tokens_of(F.interpolate(square, size=tuple(grid), mode="bicubic", align_corners=False))


def tokens_of(features: Tensor) -> Tensor:
    """A map (B, D, h, w) -> its tokens row by row, (B, h*w, D)."""
    return features.flatten(2).transpose(1, 2)


def modality_major_map(tokens: Tensor, modalities: int, grid: Sequence[int]) -> Tensor:
    """Turn [modality 0; modality 1; ...] (B, M*h*w, D) into a map (B, M*D, h, w)."""
    maps = tokens.unflatten(1, (modalities, *grid))
    return maps.permute(0, 1, 4, 2, 3).flatten(1, 2)


def sequential_map(tokens: Tensor, modalities: int, grid: Sequence[int]) -> Tensor:
    """Reshape as released: cell n of the map holds the sequence's entries M n to M n + M - 1.

    Same shapes as `modality_major_map`; the map does not lie on the image (of two modalities, the
    first fills the upper half).
    """
    batch, _, width = tokens.shape
    return torch.reshape(tokens, (batch, *grid, modalities * width)).permute(0, 3, 1, 2)


# how the tokens of all modalities become a map again
Layout = Literal["modality_major", "sequential"]
LAYOUTS = {"modality_major": modality_major_map, "sequential": sequential_map}
