"""The released decoder: a feature pyramid network, and the sum of its levels at stride 4."""

from collections.abc import Sequence
from math import log2

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from methods.parts.backbones import STRIDES

PYRAMID, WIDTH = 256, 128


class PyramidDecoder(nn.Module):
    """FPN to 256; per level 3x3 to 128, BN, ReLU and doubling up to stride 4; mean, 1x1 to K."""

    def __init__(self, in_channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.pyramid = FeaturePyramidNetwork(list(in_channels), PYRAMID)
        self.levels = nn.ModuleList()
        for stride in STRIDES:
            doublings = int(log2(stride / STRIDES[0]))
            layers: list[nn.Module] = []
            for number in range(max(1, doublings)):
                wide = WIDTH if number else PYRAMID
                layers += [nn.Conv2d(wide, WIDTH, 3, padding=1, bias=False)]
                layers += [nn.BatchNorm2d(WIDTH), nn.ReLU()]
                layers += [nn.UpsamplingBilinear2d(scale_factor=2)] if doublings else []
            self.levels.append(nn.Sequential(*layers))
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[(B, C_i, H_i, W_i)], finest first -> logits (B, K, H_1, W_1)."""
        levels = self.pyramid({str(scale): one for scale, one in enumerate(maps)}).values()
        raised = [level(one) for level, one in zip(self.levels, levels, strict=True)]
        return self.classifier(torch.stack(raised).mean(0))
