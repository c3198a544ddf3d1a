"""Modality-specific experts (MSE): a small residual network per modality and its constant.

MultiSenseSeg, IEEE TGRS 62, 2024, art. 4703724; dossier sections 2.1 (images) and 4.1 (features).
Written from the dossier's equations.
"""

from math import cos, radians

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP = 8  # channels of a group in the 3x3 convolution


def phase_offsets(count: int) -> list[float]:
    """p_m = cos(m floor(135 / M) degrees), m = 0..M-1; a lone modality has none, hence 0."""
    return [cos(radians(m * (135 // count))) for m in range(count)] if count > 1 else [0.0]


def phase_constant(value: float, trained: bool) -> nn.Parameter | Tensor:
    """Make p_m a parameter, or what becomes a buffer (the authors neither train nor save it)."""
    return nn.Parameter(torch.tensor(value)) if trained else torch.tensor(value)


class SqueezeExcitation(nn.Module):
    """Scale channels by a gate of their means: 1x1 to C / ratio, ReLU6, 1x1 to C, sigmoid.

    Both convolutions are without biases, as the authors'.
    """

    def __init__(self, channels: int, ratio: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // ratio, 1, bias=False)
        self.excite = nn.Conv2d(channels // ratio, channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        mean = features.mean((2, 3), keepdim=True)
        return features * torch.sigmoid(self.excite(F.relu6(self.squeeze(mean))))


class FeatureExpert(nn.Module):
    """u = W F + p; u = ReLU(1x1(BN(grouped 3x3(u)))); SE(u + F), on C channels (dossier 4.1)."""

    phase: Tensor

    def __init__(self, channels: int, phase: float, trained: bool = False) -> None:
        super().__init__()
        half = channels // 2
        self.reduce = nn.Conv2d(channels, half, 1, bias=False)
        value = phase_constant(phase, trained)
        if trained:
            self.phase = value
        else:
            self.register_buffer("phase", value)
        self.spatial = nn.Conv2d(half, half, 3, padding=1, groups=max(1, half // GROUP), bias=False)
        self.norm = nn.BatchNorm2d(half)
        self.expand = nn.Conv2d(half, channels, 1)
        self.gate = SqueezeExcitation(channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        # the constant tells the modalities apart: a phase per sensor (dossier 2.1)
        inner = self.norm(self.spatial(self.reduce(features) + self.phase))
        return self.gate(F.relu(self.expand(inner)) + features)


class ImageExpert(nn.Module):
    """ReLU(BN(3x3)) of the image, then a `FeatureExpert`, at full resolution (dossier 2.1)."""

    def __init__(
        self, in_channels: int, phase: float, channels: int = 32, trained: bool = False
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.expert = FeatureExpert(channels, phase, trained)

    def forward(self, image: Tensor) -> Tensor:
        """(B, c_m, H, W) -> (B, D, H, W)."""
        return self.expert(F.relu(self.norm(self.stem(image))))
