"""What MoBaNet puts around the frozen blocks: prompts before a stage, gated fusion after.

Equation numbers are those of arXiv 2603.17705v1. Both are published for two streams; any number of
them is ours.
"""

from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

PROMPT_RATIO, ADAPTER_RATIO, GATE_RATIO = 0.25, 0.0625, 0.125
LEAST_GATE = 32


class Adapter(nn.Module):
    """Bottleneck with an injected prompt, X + V drop(relu(D X + Q P)) (eqs. 9-11)."""

    def __init__(self, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        inner = int(width * ADAPTER_RATIO)
        self.down, self.prompt = nn.Linear(width, inner), nn.Linear(width, inner)
        self.up = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.kaiming_uniform_(self.down.weight, a=sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, tokens: Tensor, prompt: Tensor) -> Tensor:
        """Tokens and prompt (B, h, w, C) -> (B, h, w, C)."""
        return tokens + self.up(self.dropout(torch.relu(self.down(tokens) + self.prompt(prompt))))


class CPIA(nn.Module):
    """Cross-modal prompts (eqs. 5-11): a semantic base of all streams, modulated for each.

    `adapters` feed the prompt through the bottleneck of eq. 9; otherwise it is added, as the
    published counts imply. It is not zero at the start.
    """

    def __init__(self, streams: int, width: int, adapters: bool = False) -> None:
        super().__init__()
        inner = int(width * PROMPT_RATIO)
        self.down = nn.ModuleList(nn.Linear(width, inner) for _ in range(streams))
        self.mix = nn.Linear(streams * inner, inner)
        self.up = nn.Linear(inner, width)
        self.gamma = nn.ParameterList(1 + 0.02 * torch.randn(width) for _ in range(streams))
        self.beta = nn.ParameterList(0.02 * torch.randn(width) for _ in range(streams))
        self.adapters = nn.ModuleList(Adapter(width) for _ in range(streams)) if adapters else None

    def stream_prompts(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """P_m = S + gamma_m S + beta_m, (B, h, w, C) for each stream of that shape."""
        reduced = [layer(tokens) for layer, tokens in zip(self.down, streams, strict=True)]
        # eqs. 5 to 7: one semantic base of all streams
        base = self.up(self.mix(torch.cat(reduced, -1)))
        return [
            base + gamma * base + beta for gamma, beta in zip(self.gamma, self.beta, strict=True)
        ]

    def forward(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """Patch tokens of all streams, (B, h, w, C) each -> the same with their prompts."""
        prompts = self.stream_prompts(streams)
        if self.adapters is None:
            return [tokens + prompt for tokens, prompt in zip(streams, prompts, strict=True)]
        triples = zip(self.adapters, streams, prompts, strict=True)
        return [adapter(tokens, prompt) for adapter, tokens, prompt in triples]


class DGFM(nn.Module):
    """Difference-guided fusion (eqs. 12-16): a convex combination per pixel and channel.

    For two streams the gate is a sigmoid G, F = G x_1 + (1 - G) x_2. For M it is a softmax over M
    logits, the last of which is 0, from all reduced maps and all pairwise differences.
    """

    def __init__(self, streams: int, width: int) -> None:
        super().__init__()
        inner = max(LEAST_GATE, int(width * GATE_RATIO))
        self.pairs = list(combinations(range(streams), 2))
        self.reductions = nn.ModuleList(
            nn.Conv2d(width, inner, 1, bias=False) for _ in range(streams)
        )
        self.gate_in = nn.Conv2d((streams + len(self.pairs)) * inner, inner, 1, bias=False)
        self.gate_norm = nn.GroupNorm(1, inner)
        self.gate_out = nn.Conv2d(inner, (streams - 1) * width, 1)
        # F starts as the mean; for one step everything before this layer has no gradient
        for parameter in self.gate_out.parameters():
            nn.init.zeros_(parameter)

    def stream_shares(self, streams: Sequence[Tensor]) -> Tensor:
        """Shares of the streams, (B, M, C, h, w), which sum to one over M."""
        reduced = [layer(maps) for layer, maps in zip(self.reductions, streams, strict=True)]
        # eq. 13: where the streams disagree, the gate has something to decide
        differences = [(reduced[i] - reduced[j]).abs() for i, j in self.pairs]
        mixed = self.gate_norm(self.gate_in(torch.cat([*reduced, *differences], 1)))
        logits = self.gate_out(nn.functional.gelu(mixed)).unflatten(1, (len(streams) - 1, -1))
        # the last logit is 0: for two streams the softmax is the published sigmoid
        last = torch.zeros_like(streams[0], dtype=logits.dtype)[:, None]
        return torch.cat([logits, last], 1).softmax(1)

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """Maps (B, C, h, w) of all streams -> (B, C, h, w)."""
        shares = self.stream_shares(streams).unbind(1)
        total: Any = sum(share * maps for share, maps in zip(shares, streams, strict=True))
        return total
