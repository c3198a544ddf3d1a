"""Attention between the channels of four scales, within one stream or across several (CMFNet).

Four maps are cut into equally many patches each, so that a token stands for one place at all
scales; channels attend to channels, by sums over the places.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.heads import upsample_bilinear
from methods.parts.precision import at_least_float32

HEADS = 4
DEPTH = 4
GRID = 16  # tokens of the position table on a side
EPS = 1e-6  # of layer norms
DROPOUT = 0.1


class Patches(nn.Module):
    """Four maps (B, C_i, H/2^i, W/2^i) -> four maps of patches (B, C_i, H/p, W/p)."""

    def __init__(self, widths: Sequence[int], patch: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        self.positions = nn.ParameterList()
        for level, width in enumerate(widths):
            side = patch >> level
            self.convolutions.append(nn.Conv2d(width, width, side, side))
            self.positions.append(nn.Parameter(torch.zeros(1, width, GRID, GRID)))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Embed patches and add positions, resized to the grid where it has another size."""
        tokens = []
        for conv, table, given in zip(self.convolutions, self.positions, maps, strict=True):
            patches = conv(given)
            tokens.append(self.dropout(patches + upsample_bilinear(table, patches.shape[2:])))
        return tokens


class StreamLayer(nn.Module):
    """What a layer has for one stream: it offers keys, takes others' keys, or both.

    Every head has a quarter of each scale's channels; keys and values are projected alike in all
    heads.
    """

    def __init__(self, widths: Sequence[int], offers: bool, takes: bool) -> None:
        super().__init__()
        self.widths, self.takes = list(widths), takes
        total = sum(widths)
        self.scale = 1 / sqrt(total)
        self.norm_all = nn.LayerNorm(total, EPS)
        quarter = total // HEADS
        self.key = nn.Linear(quarter, quarter, bias=False) if offers else None
        if not takes:
            return
        self.value = nn.Linear(quarter, quarter, bias=False)
        self.norms = nn.ModuleList(nn.LayerNorm(width, EPS) for width in widths)
        # a matrix of its own for each head
        self.queries = nn.ParameterList()
        for width in widths:
            narrow = width // HEADS
            self.queries.append(nn.Parameter(sqrt(2 / narrow) * torch.randn(HEADS, narrow, narrow)))
        self.projections = nn.ModuleList(nn.Linear(w, w, bias=False) for w in widths)
        self.dropout = nn.Dropout(DROPOUT)
        self.mlps = nn.ModuleList()
        for width in widths:
            wide, back = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.mlps.append(nn.Sequential(nn.LayerNorm(width, EPS), wide, nn.GELU(), back))

    def quarters(self, tokens: Sequence[Tensor]) -> Tensor:
        """Tokens [(B, N, C_i)] -> each head's channels of all scales, (B, heads, N, quarter)."""
        scales = self.norm_all(torch.cat(list(tokens), 2)).split(self.widths, 2)
        return torch.cat([_split_heads(scale) for scale in scales], 3)

    def forward(self, tokens: Sequence[Tensor], quarters: Tensor, keys: Tensor) -> list[Tensor]:
        """Tokens [(B, N, C_i)] with their `quarters`, and keys of that form -> new tokens."""
        values, found = self.value(quarters), []
        for scale, given in enumerate(tokens):
            queries = _split_heads(self.norms[scale](given)) @ self.queries[scale]
            likeness = at_least_float32(queries.transpose(2, 3) @ keys * self.scale)
            # each head's whole map has mean 0 and variance 1
            shares = self.dropout(F.instance_norm(likeness).softmax(3))
            # (B, heads, c, N); merged, a head's channels lie `HEADS` apart
            mixed = shares.to(values.dtype) @ values.transpose(2, 3)
            merged = mixed.transpose(1, 2).flatten(1, 2).transpose(1, 2)
            state = given + self.dropout(self.projections[scale](merged))
            found.append(state + self.mlps[scale](state))
        return found


def _split_heads(tokens: Tensor) -> Tensor:
    """(B, N, C) -> (B, heads, N, C / heads), contiguous channels in a head."""
    return tokens.unflatten(2, (HEADS, -1)).transpose(1, 2)


class ChannelTransformer(nn.Module):
    """Four layers on the tokens of M streams, and the first stream's maps made anew of the result.

    A stream of several attends to the mean of the others' keys with its own values, a single one
    to its own. What nothing reads of the last layer is left out.
    """

    def __init__(self, streams: int, widths: Sequence[int], patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.layers: Any = nn.ModuleList()
        for number in range(DEPTH):
            last, parts = number == DEPTH - 1, nn.ModuleList()
            for stream in range(streams):
                offers = streams == 1 or stream > 0 or not last
                parts.append(StreamLayer(widths, offers, takes=stream == 0 or not last))
            self.layers.append(parts)
        self.norms = nn.ModuleList(nn.LayerNorm(width, EPS) for width in widths)
        self.rebuild = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU())
            for width in widths
        )
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.kaiming_normal_(part.weight)

    def forward(self, maps: Sequence[Tensor], patches: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """The first stream's four maps and every stream's patches (B, C_i, h, w) -> four maps."""
        grid = patches[0][0].shape[2:]
        streams = [[part.flatten(2).transpose(1, 2) for part in one] for one in patches]
        for layer in self.layers:
            quarters, keys = [], []
            for part, stream in zip(layer, streams, strict=True):
                quarters.append(part.quarters(stream))
                keys.append(None if part.key is None else part.key(quarters[-1]))
            for number, part in enumerate(layer):
                if part.takes:
                    seen = _mean_of_others(keys, number)
                    streams[number] = part(streams[number], quarters[number], seen)
        found = []
        for level, (given, tokens) in enumerate(zip(maps, streams[0], strict=True)):
            coarse = self.norms[level](tokens).transpose(1, 2).unflatten(2, grid)
            whole = F.interpolate(coarse, scale_factor=float(self.patch >> level), mode="nearest")
            found.append(given + self.rebuild[level](whole))
        return found


def _mean_of_others(keys: Sequence[Tensor | None], number: int) -> Tensor:
    """Average the keys of all streams but one; a single stream's are its own."""
    others = [key for place, key in enumerate(keys) if place != number or len(keys) == 1]
    offered = [key for key in others if key is not None]
    return torch.stack(offered).mean(0) if len(offered) > 1 else offered[0]
