"""Adaptive multimodal matching (AMM): attention between channels, and the step to stride 4.

MultiSenseSeg, dossier section 2.2. The softmax is applied twice and turned around: similar channels
get the smaller weight.
"""

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.heads import ChannelNorm
from methods.parts.precision import at_least_float32

HEADS = 4
POOL = 8


def channel_offsets(channels: int) -> Tensor:
    """Tabulate sign(d) log2(|d| + 1) / log2(8), d = 8 (j - i) / (c - 1): (c, c), within +-1.06."""
    index = torch.arange(channels, dtype=torch.float32)
    distance = 8 * (index[None] - index[:, None]) / (channels - 1)
    return distance.sign() * torch.log2(distance.abs() + 1) / 3


def reversed_softmax(scores: Tensor) -> Tensor:
    """Compute softmax(1 - softmax(S)): rows sum to 1, the largest score has the smallest weight."""
    return (1 - scores.softmax(-1)).softmax(-1)


class AdaptiveMatching(nn.Module):
    """X (B, M*D, H, W) -> (B, e, H/4, W/4) and, if wanted, guidance (B, 32, H, W)."""

    offsets: Tensor

    def __init__(
        self,
        modalities: int,
        width: int = 32,
        out_width: int = 64,
        dropout: float = 0.1,
        guidance: int = 0,
    ) -> None:
        super().__init__()
        channels = modalities * width  # one group of the 1x1 convolutions for each modality

        def grouped_conv() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 1, groups=modalities)

        def depthwise_conv(kernel: int, stride: int) -> nn.Conv2d:
            return nn.Conv2d(channels, channels, kernel, stride, groups=channels)

        self.query = nn.Sequential(grouped_conv(), nn.MaxPool2d(POOL), depthwise_conv(3, 1))
        self.key = nn.Sequential(grouped_conv(), nn.MaxPool2d(POOL), depthwise_conv(3, 1))
        self.value = nn.Sequential(grouped_conv(), depthwise_conv(4, 4))
        # learned temperature of the cosine, clamped at 100 as in Swin v2
        self.scale = nn.Parameter(torch.full((HEADS, 1, 1), log(10.0)))
        self.register_buffer("offsets", channel_offsets(channels), persistent=False)
        hidden = 16 * modalities
        self.bias = nn.Sequential(
            nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, HEADS, bias=False)
        )
        self.projection = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.GELU(), nn.Conv2d(channels, out_width, 1)
        )
        self.norm = ChannelNorm(out_width)
        self.patches = nn.Conv2d(channels, out_width, 4, 4)
        self.patch_norm = ChannelNorm(out_width)
        self.dropout = nn.Dropout(dropout)
        self.guide: nn.Sequential | None = None
        if guidance:
            smooth = nn.Conv2d(channels, guidance, 3, padding=1, bias=False)
            self.guide = nn.Sequential(smooth, nn.BatchNorm2d(guidance), nn.ReLU())

    def channel_attention(self, features: Tensor) -> Tensor:
        """T, (B, heads, c, c), in float32; each row sums to 1."""
        strips = [
            part(features).flatten(2).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in (self.query, self.key)
        ]
        query, key = (F.normalize(at_least_float32(strip), dim=-1) for strip in strips)
        # channels are the tokens; strips of rows are the heads, which come out even as multiples of
        # 32 divide H and W
        cosine = query @ key.transpose(-2, -1)
        bias = self.bias(self.offsets[..., None]).movedim(-1, 0)
        scaled = self.scale.clamp(max=log(100.0)).exp() * cosine
        return reversed_softmax(scaled + torch.sigmoid(at_least_float32(bias)))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Fused map and guidance (None unless built)."""
        value = self.value(features)
        strips = value.flatten(2).unflatten(2, (HEADS, -1)).transpose(1, 2)
        mixed = self.dropout(self.channel_attention(features)).to(strips.dtype) @ strips
        mixed = mixed.transpose(1, 2).flatten(2).unflatten(2, value.shape[-2:])
        fused = self.norm(self.dropout(self.projection(mixed)))
        fused = fused + self.patch_norm(self.patches(features))
        return fused, None if self.guide is None else self.guide(features)
