"""How the primary's and the auxiliaries' map meet: rectification (FRM) and fusion (FFM), of CMX."""

import torch
from torch import Tensor, nn

from methods.parts.tokens import tokens_of
from usererror import UserError


class Rectification(nn.Module):
    """Add to each of two maps the other, weighed by channel and by pixel (FRM)."""

    share = 0.5  # lambda, of the channels' and of the pixels' weights alike

    def __init__(self, width: int) -> None:
        super().__init__()
        self.by_channel = nn.Sequential(
            nn.Linear(4 * width, 4 * width), nn.ReLU(), nn.Linear(4 * width, 2 * width)
        )
        self.by_pixel = nn.Sequential(
            nn.Conv2d(2 * width, width, 1), nn.ReLU(), nn.Conv2d(width, 2, 1)
        )

    def forward(self, primary: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Two maps (B, C, h, w) -> both rectified; weights with index 0 are those of the first."""
        both = torch.cat([primary, other], 1)
        pooled = torch.cat([both.mean((2, 3)), both.amax((2, 3))], 1)
        channels = torch.sigmoid(self.by_channel(pooled))[..., None, None].chunk(2, 1)
        pixels = torch.sigmoid(self.by_pixel(both)).chunk(2, 1)
        weights = [self.share * (c + v) for c, v in zip(channels, pixels, strict=True)]
        return primary + weights[1] * other, other + weights[0] * primary


class CrossFusion(nn.Module):
    """Fuse two maps by linear cross-attention and a convolutional mixer (FFM).

    Raises:
        UserError: if `heads` do not divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise UserError(
                f"CMNeXt: {heads} heads do not divide a width of {width}; set the option heads."
            )
        self.heads = heads
        self.halves = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(2))
        self.keys_values = nn.ModuleList(nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.ends = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.shortcut = nn.Conv2d(2 * width, width, 1, bias=False)
        self.mixer = nn.Sequential(
            nn.Conv2d(2 * width, width, 1),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
            nn.BatchNorm2d(width),
        )
        self.norm = nn.BatchNorm2d(width)

    def context(self, side: int, tokens: Tensor) -> Tensor:
        """Describe a side's tokens (B, N, C) by (B, heads, C/heads, C/heads).

        The softmax of k^T v runs over the channels of the keys: each column sums to one.
        """
        packed = self.keys_values[side](tokens).unflatten(-1, (2, self.heads, -1))
        key, value = packed.permute(2, 0, 3, 1, 4)
        scale = key.shape[-1] ** -0.5
        return (key.transpose(-2, -1) @ value * scale).softmax(-2)

    def forward(self, primary: Tensor, other: Tensor) -> Tensor:
        """Two maps (B, C, h, w) -> one."""
        tokens = [tokens_of(primary), tokens_of(other)]
        kept, asked, contexts = [], [], []
        for side, own in enumerate(tokens):
            half, query = torch.relu(self.halves[side](own)).chunk(2, -1)
            kept.append(half)
            asked.append(query.unflatten(-1, (self.heads, -1)).transpose(1, 2))
            contexts.append(self.context(side, query))
        parts = []
        for side, own in enumerate(tokens):
            # each side asks the other's context
            answer = (asked[side] @ contexts[1 - side]).transpose(1, 2).flatten(2)
            mixed = self.ends[side](torch.cat([kept[side], answer], -1))
            parts.append(self.norms[side](own + mixed))
        both = torch.cat(parts, -1).transpose(1, 2).unflatten(2, primary.shape[-2:])
        return self.norm(self.shortcut(both) + self.mixer(both))
