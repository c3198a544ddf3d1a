"""Squeeze-and-excitation of one stream's maps (MANet, FTransUNet)."""

from torch import Tensor, nn


class Squeeze(nn.Module):
    """Scale every channel by what a bottleneck makes of the means of all of them."""

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        narrow = max(1, channels // ratio)
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, channels, 1), nn.Sigmoid()
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> the same."""
        return self.weigh(maps.mean((2, 3), keepdim=True)) * maps
