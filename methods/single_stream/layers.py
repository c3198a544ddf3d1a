"""What several of the networks are built of."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.precision import at_least_float32, no_autocast


def conv_norm_relu(channels: int, width: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU; a stride of 1 keeps the size."""
    conv = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())


class LinearAttention(nn.Module):
    """Attention with the weights 1 + q_i k_j of unit vectors q and k, times a learned number.

    That is the first order of an exponential; its matrix of all pairs of pixels is never made.
    The number starts at zero. Released code divides by norms that may be 0; here they are clamped.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(width, width // 8, 1)
        self.key = nn.Conv2d(width, width // 8, 1)
        self.value = nn.Conv2d(width, width, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        queries = F.normalize(self.query(maps).flatten(2), dim=1)
        keys = F.normalize(self.key(maps).flatten(2), dim=1)
        values = self.value(maps).flatten(2)
        total = values.sum(2, keepdim=True) + values @ keys.transpose(1, 2) @ queries
        weight = keys.shape[2] + ((keys.sum(2, keepdim=True) + 1e-6) * queries).sum(1, keepdim=True)
        return self.gamma * (total / weight).unflatten(2, maps.shape[2:])


class ChannelAttention(nn.Module):
    """Every channel plus, times a learned number, a mean of those that are least like it.

    The number starts at zero and is the only parameter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        # sums over all pixels in an exponent
        with no_autocast(maps.device):
            rows = at_least_float32(maps).flatten(2)
            weights = (-rows @ rows.transpose(1, 2)).softmax(2)
            return maps + self.gamma * (weights @ rows).unflatten(2, maps.shape[2:])


class ChannelKernelAttention(nn.Module):
    """Every channel plus, times a learned number, attention over channels in its linear form.

    The number starts at zero and is the only parameter. As released: the denominator starts from
    the number of pixels, where a kernel over channels would have that of channels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        # sums over all pixels
        with no_autocast(maps.device):
            rows = at_least_float32(maps).flatten(2)
            units = F.normalize(rows, dim=1)
            total = rows.sum(1, keepdim=True) + rows @ units.transpose(1, 2) @ units
            near = (units * (units.sum(1, keepdim=True) + 1e-6)).sum(2, keepdim=True)
            found = total / (rows.shape[2] + near)
            return maps + self.gamma * found.unflatten(2, maps.shape[2:])
