"""U-Net (Ronneberger et al., MICCAI 2015) as it is usually built: padded, with batch norms."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, cat, nn


class UNet(nn.Module):
    """Five levels of two convolutions, of which each has half the size and twice the width.

    Args:
        width: of the finest level.
        batch_norm: without it, as in the paper, convolutions have a bias.
    """

    stride = 1

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        width: int = 64,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()

        def conv(before: int, after: int) -> nn.Conv2d:
            return nn.Conv2d(before, after, 3, padding=1, bias=not batch_norm)

        def activate(after: int) -> list[nn.Module]:
            return [nn.BatchNorm2d(after), nn.ReLU()] if batch_norm else [nn.ReLU()]

        def level(before: int, after: int) -> nn.Sequential:
            first = [conv(before, after), *activate(after)]
            return nn.Sequential(*first, conv(after, after), *activate(after))

        widths = [width << depth for depth in range(5)]
        self.first = nn.ModuleList([conv(sum(channels), width)])
        self.finest = nn.Sequential(*activate(width), conv(width, width), *activate(width))
        self.contract = nn.ModuleList(level(*pair) for pair in pairwise(widths))
        pairs = list(pairwise(widths[::-1]))
        self.rises = nn.ModuleList(nn.ConvTranspose2d(*pair, 2, stride=2) for pair in pairs)
        # the skip and the risen map side by side
        self.expand = nn.ModuleList(level(*pair) for pair in pairs)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, responses: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """What `first` returns, [(B, E, H, W)] -> logits (B, K, H, W), no auxiliary ones."""
        levels: list[Any] = [self.finest(responses[0])]
        for part in self.contract:
            levels.append(part(self.pool(levels[-1])))
        maps = levels.pop()
        for rise, part in zip(self.rises, self.expand, strict=True):
            maps = part(cat([levels.pop(), rise(maps)], 1))
        return self.head(maps), []
