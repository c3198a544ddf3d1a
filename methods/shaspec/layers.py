"""Layers of ShaSpec: weight-standardised convolutions, norms, residual blocks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.01
EPS = 1e-12


def standardise_filters(weight: Tensor) -> Tensor:
    """Filters (O, I, k, k), each with mean 0 and unbiased standard deviation 1 (dossier II.2)."""
    centred = weight - weight.mean((1, 2, 3), keepdim=True)
    return centred * torch.rsqrt(centred.var((1, 2, 3), keepdim=True) + EPS)


class StandardisedConv(nn.Conv2d):
    """A convolution by its standardised filters; zero padding that keeps the size at stride 1."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__(c_in, c_out, kernel, stride, dilation * (kernel // 2), dilation, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H/stride, W/stride)."""
        return self._conv_forward(features, standardise_filters(self.weight), self.bias)


def leaky_activation(features: Tensor) -> Tensor:
    """LeakyReLU(0.01) in place: of sums and norms, which nothing else reads or keeps."""
    return F.leaky_relu(features, SLOPE, inplace=True)


def instance_norm(channels: int) -> nn.Module:
    """Instance norm with scale and shift."""
    return nn.InstanceNorm2d(channels, affine=True)


def conv_norm(
    c_in: int, c_out: int, kernel: int, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Standardised convolution and norm."""
    return nn.Sequential(
        StandardisedConv(c_in, c_out, kernel, stride, dilation), instance_norm(c_out)
    )


def conv_norm_act(
    c_in: int, c_out: int, kernel: int, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Standardised convolution, instance_norm, LeakyReLU."""
    return conv_norm(c_in, c_out, kernel, stride, dilation).append(
        nn.LeakyReLU(SLOPE, inplace=True)
    )


class Residual(nn.Module):
    """LeakyReLU(shortcut(x) + branch(x)); the branch ends with a norm."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, features: Tensor) -> Tensor:
        """(B, c, H, W) -> what the branch makes of it."""
        around = features if self.shortcut is None else self.shortcut(features)
        return leaky_activation(around + self.branch(features))


def bottleneck_stage(c_in: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """Bottlenecks 1x1, 3x3, 1x1 of `width` -> 4 width; the first one strides and projects."""
    layers = []
    for index in range(blocks):
        first = index == 0
        step = stride if first else 1
        branch = nn.Sequential(
            conv_norm_act(c_in if first else 4 * width, width, 1),
            conv_norm_act(width, width, 3, step),
            conv_norm(width, 4 * width, 1),
        )
        layers.append(Residual(branch, conv_norm(c_in, 4 * width, 1, step) if first else None))
    return nn.Sequential(*layers)


def basic_block(channels: int) -> Residual:
    """Two 3x3 convolutions with norms, and the identity around them."""
    return Residual(
        nn.Sequential(conv_norm_act(channels, channels, 3), conv_norm(channels, channels, 3))
    )


def init_kaiming(network: nn.Module) -> None:
    """Draw all convolutions Kaiming-normal, fan-out; standardisation makes the scale irrelevant."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
