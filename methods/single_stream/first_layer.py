"""The first convolution of a network, for the channels of several modalities."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.backbones import create_pyramid, widen
from usererror import UserError


def create_resnet(
    channels: Sequence[int],
    backbone: str,
    pretrained: bool,
    pretrained_path: str | None,
    **options: Any,
) -> tuple[nn.Conv2d, Any]:
    """Create a timm ResNet for all channels: its first convolution, and the rest of the pyramid.

    The rest makes four maps at strides 4, 8, 16, 32 of what the first convolution returns;
    `options` as in `create_pyramid`.
    """
    pyramid: Any = create_pyramid(backbone, pretrained, pretrained_path, **options)
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
