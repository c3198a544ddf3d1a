"""MoBaNet's narrow UPerNet and its auxiliary heads, all at the patches' resolution."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.heads import upsample_bilinear

LEVEL_WIDTH, WIDTH = 256, 64
POOLS = (1, 2, 3, 6)


def conv_norm(c_in: int, c_out: int, kernel: int) -> nn.Sequential:
    """Convolution without bias and BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(c_out)
    )


def conv_block(c_in: int, c_out: int, kernel: int) -> nn.Sequential:
    """The same with ReLU6."""
    return conv_norm(c_in, c_out, kernel).append(nn.ReLU6())


class UPerHead(nn.Module):
    """Pyramid pooling on the last level, a top-down path, a joint fusion: 64 channels each."""

    def __init__(self, num_classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        # the pool of one pixel has batch statistics over the batch alone: never train on one sample
        self.pools = nn.ModuleList(conv_block(LEVEL_WIDTH, WIDTH, 1) for _ in POOLS)
        self.bottleneck = conv_block(LEVEL_WIDTH + len(POOLS) * WIDTH, WIDTH, 3)
        self.laterals = nn.ModuleList(conv_norm(LEVEL_WIDTH, WIDTH, 1) for _ in range(3))
        self.smooth = nn.ModuleList(conv_block(WIDTH, WIDTH, 3) for _ in range(3))
        self.fusion = conv_block(4 * WIDTH, WIDTH, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1, bias=False)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps (B, 256, h, w) -> logits (B, K, h, w)."""
        *first, last = maps
        pooled = [
            upsample_bilinear(branch(F.adaptive_avg_pool2d(last, side)), last.shape[-2:])
            for branch, side in zip(self.pools, POOLS, strict=True)
        ]
        # top-down path, coarsest level first; all levels have one size here
        path = [self.bottleneck(torch.cat([last, *pooled], 1))]
        for lateral, level in zip(reversed(self.laterals), reversed(first), strict=True):
            path.insert(0, lateral(level) + path[0])
        smoothed = [layer(level) for layer, level in zip(self.smooth, path[:3], strict=True)]
        return self.classifier(self.dropout(self.fusion(torch.cat([*smoothed, path[3]], 1))))


class AuxiliaryHead(nn.Sequential):
    """(B, 256, h, w) of one stream -> logits (B, K, h, w); training only."""

    def __init__(self, num_classes: int, dropout: float = 0.1) -> None:
        classifier = nn.Conv2d(LEVEL_WIDTH, num_classes, 1, bias=False)
        super().__init__(conv_block(LEVEL_WIDTH, LEVEL_WIDTH, 3), nn.Dropout(dropout), classifier)
