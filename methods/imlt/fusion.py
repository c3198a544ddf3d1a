"""One fusion layer of IMLT: learned fusion tokens read the modality streams at one scale.

Original: Y. Chen, M. Zhao, L. Bruzzone, "A Novel Approach to Incomplete Multimodal Learning for
Remote Sensing Data Fusion", doi 10.1109/TGRS.2024.3387837. Under the paper's mask a modality token
sees its own modality only, so a stream is a network of its own: here the shared encoder. What
remains is the stream of fusion tokens, one layer per scale (dossier 4.1, 4.2). What depends on one
modality alone is computed in `project`, what depends on the set in `fuse`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.heads import upsample_bilinear
from methods.parts.kernel_folding import FoldingModule
from methods.parts.precision import at_least_float32
from methods.parts.tokens import tokens_of
from usererror import UserError

TOKEN_STD = 0.02


class Stream(NamedTuple):
    """All that the fusion tokens read of one modality at one scale."""

    features: Tensor  # F_m, (B, C, h, w)
    key: Tensor  # of z_m at every position, (B, P, C) with P = h w: modality attention
    value: Tensor
    pooled_key: Tensor  # of pooled z_m, (B, heads, Q, C/heads): masked self-attention
    pooled_value: Tensor


class Start(NamedTuple):
    """The fusion stream before it has seen a modality: it depends on weights and size only."""

    tokens: Tensor  # x, (1, P, C)
    query: Tensor  # of the modality attention, scaled, (1, P, C)
    logit: Tensor | None  # of the token with itself, (1, P, heads); None without own token
    value: Tensor | None  # (1, P, C)


def head_count(channels: int, wanted: int) -> int:
    """Find the largest divisor of `channels` that is at most channels / wanted, at least 1."""
    return next(n for n in range(max(1, channels // wanted), 0, -1) if channels % n == 0)


def sine_cosine(channels: int, height: int, width: int, like: Tensor) -> Tensor:
    """Compute fixed 2-D positions, (1, C, h, w), wavelengths 2 pi to 10000 * 2 pi."""
    frequencies = (
        10_000.0
        ** -torch.linspace(0, 1, channels // 4 + 1, device=like.device, dtype=like.dtype)[:-1]
    )
    rows, columns = (
        torch.arange(n, device=like.device, dtype=like.dtype)[None] * frequencies[:, None]
        for n in (height, width)
    )
    rows = rows[:, :, None].expand(-1, -1, width)
    columns = columns[:, None, :].expand(-1, height, -1)
    return torch.cat([rows.sin(), rows.cos(), columns.sin(), columns.cos()])[None]


class TokenAttention(nn.Module):
    """Projections of pre-norm multi-head attention, without biases as the authors'.

    One norm serves queries and keys. It is two in a row, the block's and the attention's own, both
    with a gain only (dossier 2.2).
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.norm = nn.Sequential(
            nn.LayerNorm(channels, bias=False), nn.LayerNorm(channels, bias=False)
        )
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(channels, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        for weight in (self.query.weight, *self.key_value.weight.chunk(2), self.out.weight):
            nn.init.xavier_uniform_(weight)

    def keys_values(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """KV LN(tokens): (B, P, C) -> two of (B, P, C)."""
        keys, values = self.key_value(self.norm(tokens)).chunk(2, dim=-1)
        return keys, values

    def project_queries(self, tokens: Tensor) -> Tensor:
        """Q LN(tokens): (B, P, C) -> (B, P, C)."""
        return self.query(self.norm(tokens))

    def split_heads(self, tokens: Tensor) -> Tensor:
        """(B, P, C) -> (B, heads, P, C/heads)."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class ModalityAttention(TokenAttention):
    """Let the fusion token of a position attend to the modalities there and to itself (2.2 a)."""

    def head_logits(self, query: Tensor, key: Tensor) -> Tensor:
        """Multiply scaled query and key, (B, P, C), to one logit per head, (B, P, heads)."""
        products = at_least_float32(query) * at_least_float32(key)
        return products.unflatten(2, (self.heads, -1)).sum(3)

    def forward(self, start: Start, streams: Sequence[Stream], present: Tensor | None) -> Tensor:
        """The update of x, (B, P, C); `present` bool (M, B), None = all."""
        # one key per modality and position: attention across modalities only (2.2 a)
        logits = [self.head_logits(start.query, stream.key) for stream in streams]
        if present is not None:
            pairs = zip(logits, present, strict=True)
            logits = [
                logit.masked_fill(~there[:, None, None], float("-inf")) for logit, there in pairs
            ]
        values = [stream.value for stream in streams]
        if start.logit is not None and start.value is not None:
            logits, values = [*logits, start.logit.expand_as(logits[0])], [*values, start.value]
        weights = torch.stack(logits).softmax(0)
        mixed = sum(
            w.unsqueeze(3).to(v.dtype) * v.unflatten(2, (self.heads, -1))
            for w, v in zip(weights, values, strict=True)
        )
        return self.out(mixed.flatten(2))


class StreamAttention(TokenAttention):
    """Let the fusion tokens attend to every stream and to the fusion stream itself (2.2 b)."""

    def forward(
        self, tokens: Tensor, pooled: Tensor, streams: Sequence[Stream], present: Tensor | None
    ) -> Tensor:
        """The update of x, (B, P, C); `pooled` = pool(x), (B, Q, C)."""
        # pooled keys keep the attention linear in the number of positions
        own_key, own_value = (self.split_heads(part) for part in self.keys_values(pooled))
        keys = torch.cat([*(stream.pooled_key for stream in streams), own_key], 2)
        values = torch.cat([*(stream.pooled_value for stream in streams), own_value], 2)
        mask = None
        if present is not None:
            there = torch.cat([present, torch.ones_like(present[:1])]).t()
            mask = there.repeat_interleave(pooled.shape[1], dim=1)[:, None, None]
        queries = self.split_heads(self.project_queries(tokens)).to(keys.dtype)
        mixed = F.scaled_dot_product_attention(queries, keys, values.to(keys.dtype), attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))


class GatedFeedForward(nn.Module):
    """LN, Linear C -> 2i split into (u, g), u GELU(g), Linear i -> C; no biases, Xavier-uniform."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, bias=False)
        self.expand = nn.Linear(channels, 2 * inner, bias=False)
        self.contract = nn.Linear(inner, channels, bias=False)
        for weight in (*self.expand.weight.chunk(2), self.contract.weight):
            nn.init.xavier_uniform_(weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, P, C) -> the update, (B, P, C)."""
        signal, gate = self.expand(self.norm(tokens)).chunk(2, dim=-1)
        return self.contract(signal * F.gelu(gate))


class FusionLayer(FoldingModule):
    """Fusion tokens of one scale: modality attention, then stream attention (dossier 2.2, 4.2).

    Each attention is followed by a feed-forward of its own, as the authors'.

    Args:
        channels: width C of the encoder at this scale, a multiple of four.
        modalities: number M of modality vectors e_m.
        token_grid: side of the learned grid of fusion tokens, resized bilinearly to the map.
        key_grid: longest side of the average-pooled keys and values of the stream attention.
        ff_mult: inner width of each feed-forward as a multiple of C, rounded down.
        own_token: the fusion token is among its own keys in the modality attention.

    Raises:
        UserError: a width that is no multiple of four, a grid below 1, or a feed-forward without
            width.
    """

    def __init__(
        self,
        channels: int,
        modalities: int,
        head_channels: int = 64,
        token_grid: int = 16,
        key_grid: int = 16,
        ff_mult: float = 1.0,
        own_token: bool = True,
    ) -> None:
        super().__init__()
        if channels % 4:
            raise UserError(
                f"Sine-cosine positions need a multiple of 4 channels; the encoder has {channels}."
            )
        if min(head_channels, token_grid, key_grid) < 1:
            raise UserError("head_channels, token_grid and key_grid must be at least 1.")
        inner = int(channels * ff_mult)
        if inner < 1:
            raise UserError(
                f"ff_mult {ff_mult} leaves the feed-forward of {channels} channels without width."
            )
        self.key_grid, self.own_token = key_grid, own_token
        heads = head_count(channels, head_channels)
        self.tokens = nn.Parameter(TOKEN_STD * torch.randn(1, channels, token_grid, token_grid))
        self.vectors = nn.Parameter(torch.zeros(modalities, channels))
        self.modality_attention = ModalityAttention(channels, heads)
        self.modality_feed_forward = GatedFeedForward(channels, inner)
        self.stream_attention = StreamAttention(channels, heads)
        self.feed_forward = GatedFeedForward(channels, inner)

    def pool_maps(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, Q, C), averages over min(key_grid, h) x min(key_grid, w) cells."""
        height, width = maps.shape[-2:]
        rows, columns = min(self.key_grid, height), min(self.key_grid, width)
        if height % rows or width % columns:
            return tokens_of(F.adaptive_avg_pool2d(maps, (rows, columns)))
        # the same averages; this one has a deterministic backward pass on CUDA
        return tokens_of(F.avg_pool2d(maps, (height // rows, width // columns)))

    def project_modality(self, modality: int, features: Tensor) -> Stream:
        """Compute keys and values of z_m = F_m + e_m from F_m (B, C, h, w)."""
        vector = self.vectors[modality]
        key, value = self.modality_attention.keys_values(tokens_of(features) + vector)
        # averages of F_m + e_m over positions are averages of F_m, plus e_m
        pooled = self.stream_attention.keys_values(self.pool_maps(features) + vector)
        split = [self.stream_attention.split_heads(part) for part in pooled]
        return Stream(features, key, value, *split)

    def _start(self, height: int, width: int) -> Start:
        grid = at_least_float32(self.tokens)
        positions = sine_cosine(grid.shape[1], height, width, grid)
        tokens = tokens_of(upsample_bilinear(grid, (height, width)) + positions)
        attention = self.modality_attention
        query = attention.project_queries(tokens) * attention.scale
        if not self.own_token:
            return Start(tokens, query, None, None)
        key, value = attention.keys_values(tokens)
        return Start(tokens, query, attention.head_logits(query, key), value)

    def start_stream(self, height: int, width: int) -> Start:
        """Compute x = Phi + PE for an h x w map, with its queries, keys and values."""
        attention = self.modality_attention
        sources = [self.tokens]
        for layer in (attention.norm, attention.query, attention.key_value):
            sources += layer.parameters()
        size = (height, width)
        return self._fold.get(sources, lambda: self._start(height, width), size)

    def fuse(self, streams: Sequence[Stream], present: Tensor | None = None) -> Tensor:
        """Read a set of streams: X (B, C, h, w); `present` bool (M, B), None = all."""
        height, width = streams[0].features.shape[-2:]
        start = self.start_stream(height, width)
        # Phi + PE is the same for every sample: its keys are computed once
        x = start.tokens + self.modality_attention(start, streams, present)
        x = x + self.modality_feed_forward(x)
        pooled = self.pool_maps(x.transpose(1, 2).unflatten(2, (height, width)))
        x = x + self.stream_attention(x, pooled, streams, present)
        x = x + self.feed_forward(x)
        return x.transpose(1, 2).unflatten(2, (height, width))
