"""GEMMNet's generator and discriminator: one makes a modality, the other judges it.

GEMMNet: "Filling the Gaps: A Multitask Hybrid Multiscale Generative Framework for Missing Modality
in Remote Sensing Semantic Segmentation", DICTA 2025, arXiv 2509.11102, section 3.1. Both follow
pix2pix (Isola et al. 2017), the generator in a shallow form with a transformer at its bottom.
Written anew from a description of the layers.
"""

import torch
from torch import Tensor, nn

from methods.parts.tokens import TokenBlock, resized_table, tokens_of

SLOPE = 0.2


def _down(c_in: int, c_out: int, norm: bool = True, stride: int = 2) -> nn.Sequential:
    """Half the size: LeakyReLU, 4 x 4 convolution with bias, BatchNorm."""
    layers: list[nn.Module] = [nn.LeakyReLU(SLOPE), nn.Conv2d(c_in, c_out, 4, stride, 1)]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(c_out)] if norm else []))


def _up(c_in: int, c_out: int, norm: bool = True) -> nn.Sequential:
    """Twice the size: ReLU, transposed 4 x 4 convolution with bias, BatchNorm."""
    layers: list[nn.Module] = [nn.ReLU(), nn.ConvTranspose2d(c_in, c_out, 4, 2, 1)]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(c_out)] if norm else []))


class TokenBottom(nn.Module):
    """Transform the generator's bottom map: 1x1 convolution, one block with its own positions."""

    def __init__(self, width: int, heads: int = 8, grid: int = 32, dropout: float = 0.1) -> None:
        super().__init__()
        self.tokeniser = nn.Conv2d(width, width, 1)
        # side of the table; maps of other sizes interpolate it
        self.table = nn.Parameter(torch.zeros(1, grid * grid, width))
        self.block = TokenBlock(width, heads, 2 * width, dropout)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D, h, w) -> the same shape."""
        grid = (features.shape[-2], features.shape[-1])
        tokens = self.block(tokens_of(self.tokeniser(features)), resized_table(self.table, grid))
        return tokens.transpose(1, 2).unflatten(2, grid)


class Generator(nn.Module):
    """U-shaped: four halvings, the transformer (HyFEx), four doublings with skips, tanh."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        width: int = 32,
        transformer: bool = True,
        heads: int = 8,
        grid: int = 32,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        # the maps have g, 2g, 4g and 8g channels
        g = width
        self.stem = nn.Conv2d(c_in, g, 4, 2, 1)
        self.downs = nn.ModuleList(
            [_down(g, 2 * g), _down(2 * g, 4 * g), _down(4 * g, 8 * g, norm=False)]
        )
        self.bottom = TokenBottom(8 * g, heads, grid, dropout) if transformer else nn.Identity()
        self.ups = nn.ModuleList([_up(8 * g, 4 * g), _up(8 * g, 2 * g), _up(4 * g, g)])
        self.last = _up(2 * g, c_out, norm=False)

    def forward(self, source: Tensor) -> Tensor:
        """(B, c_in, H, W), sides multiples of 16 -> (B, c_out, H, W) within (-1, 1)."""
        features, skips = self.stem(source), []
        for down in self.downs:
            skips.append(features)
            features = down(features)
        # HyFEx in the generator: the transformer sees the whole picture at stride 16
        features = self.bottom(features)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            features = torch.cat([up(features), skip], 1)
        return self.last(features).tanh()


class Discriminator(nn.Sequential):
    """PatchGAN, field 70 px: (B, condition + picture, H, W) -> (B, 1, H/8 - 2, W/8 - 2)."""

    def __init__(self, channels: int, width: int = 64) -> None:
        d = width
        super().__init__(
            nn.Conv2d(channels, d, 4, 2, 1),
            _down(d, 2 * d),
            _down(2 * d, 4 * d),
            _down(4 * d, 8 * d, stride=1),
            _down(8 * d, 1, norm=False, stride=1),
        )
