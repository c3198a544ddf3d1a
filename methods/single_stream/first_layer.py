"""The first convolution of a network, for the channels of several modalities."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.backbones import create_pyramid
from usererror import UserError


def widen(conv: nn.Conv2d, channels: Sequence[int], keep: bool) -> nn.Conv2d:
    """Make `conv`, which takes three channels, one for those of all modalities.

    With `keep` its kernel stays that of the first three channels that are an image, and its mean
    over the channels is that of every other one; nothing is rescaled. Without, weights are drawn as
    timm draws a ResNet's.
    """
    if list(channels) == [3]:
        return conv
    wide = nn.Conv2d(
        sum(channels),
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        (conv.stride[0], conv.stride[1]),
        (int(conv.padding[0]), int(conv.padding[1])),
        bias=conv.bias is not None,
    )
    if not keep:
        nn.init.kaiming_normal_(wide.weight, mode="fan_out", nonlinearity="relu")
        return wide
    mean = conv.weight.mean(1, keepdim=True)
    kernels = [mean.expand(-1, count, -1, -1) for count in channels]
    if 3 in channels:
        kernels[list(channels).index(3)] = conv.weight
    with torch.no_grad():
        wide.weight.copy_(torch.cat(kernels, 1))
        if conv.bias is not None and wide.bias is not None:
            wide.bias.copy_(conv.bias)
    return wide


def create_resnet(
    channels: Sequence[int],
    backbone: str,
    pretrained: bool,
    pretrained_path: str | None,
    output_stride: int = 32,
) -> tuple[nn.Conv2d, Any]:
    """Create a timm ResNet for all channels: its first convolution, and the rest of the pyramid.

    The rest makes four maps at strides 4, 8, 16, 32 of what the first convolution returns.
    """
    pyramid: Any = create_pyramid(
        backbone, pretrained, pretrained_path, output_stride=output_stride
    )
    stem = getattr(pyramid, "conv1", None)
    if isinstance(stem, nn.Conv2d):
        first, pyramid.conv1 = stem, nn.Identity()
    elif isinstance(stem, nn.Sequential) and isinstance(stem[0], nn.Conv2d):
        first, stem[0] = stem[0], nn.Identity()
    else:
        raise UserError(f"{backbone} is no ResNet of timm; take resnet18, resnet34 or the like.")
    return widen(first, channels, pretrained), pyramid


def respond(conv: nn.Conv2d, image: Tensor, place: slice) -> Tensor:
    """What the channels (B, C, H, W) at `place` of a convolution's input add to its output.

    The bias is left out. Without any channel there, zeros: (B, E, H', W') all the same.
    """
    if place.start == place.stop:
        height, width = image.shape[-2] // conv.stride[0], image.shape[-1] // conv.stride[1]
        return image.new_zeros(()).expand(len(image), conv.out_channels, height, width)
    return F.conv2d(image, conv.weight[:, place], None, conv.stride, conv.padding)
