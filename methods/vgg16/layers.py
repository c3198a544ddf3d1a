"""VGG-16's convolutions with batch norms, and the decoder that mirrors them (SegNet, TPAMI 2017).

Maps are halved by a max-pooling that notes where each maximum was, and doubled by putting values
back there.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.backbones import create_pyramid, widen
from usererror import UserError

DEPTHS = (2, 2, 3, 3, 3)  # convolutions of the five blocks
Order = Literal["bn_relu", "relu_bn"]


def block_widths(backbone: str) -> tuple[int, ...]:
    """Widths of the five blocks: `vgg16` starts with 64 channels, `vgg16_w16` with 16.

    Example:
        >>> block_widths("vgg16")
        (64, 128, 256, 512, 512)
    """
    named = re.fullmatch(r"vgg16(?:_w([1-9]\d*))?", backbone)
    if named is None:
        raise UserError(f"backbone {backbone!r} is neither vgg16 nor vgg16_w and a width.")
    width = int(named[1] or 64)
    return (width, 2 * width, 4 * width, 8 * width, 8 * width)


def make_block(widths: Sequence[int], order: Order) -> nn.Sequential:
    """3x3 convolutions with bias from each width to the next, each with batch norm and ReLU."""
    if order not in ("bn_relu", "relu_bn"):
        raise UserError(f"order {order!r} is neither bn_relu nor relu_bn.")
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        tail = [nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.Conv2d(before, after, 3, padding=1)]
        layers += tail if order == "bn_relu" else tail[::-1]
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """The thirteen convolutions of VGG-16 in five blocks; whoever runs them pools between."""

    def __init__(self, channels: int, widths: Sequence[int], order: Order) -> None:
        super().__init__()
        self.blocks: Any = nn.ModuleList()
        for depth, width in zip(DEPTHS, widths, strict=True):
            self.blocks.append(make_block([channels, *[width] * depth], order))
            channels = width

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, H, W), sides multiples of 16 -> five maps (B, C_i, H/2^i, W/2^i), i = 0 to 4."""
        maps: list[Tensor] = []
        for block in self.blocks:
            maps.append(block(F.max_pool2d(maps[-1], 2) if maps else image))
        return maps


class Decoder(nn.Module):
    """The encoder's mirror, and a last convolution to the classes.

    The last convolution of a block has the width of the next; `dropout` follows the deepest three.
    """

    def __init__(
        self, widths: Sequence[int], num_classes: int, order: Order, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for level in reversed(range(len(DEPTHS))):
            width, narrow = widths[level], widths[max(level - 1, 0)]
            # the finest block has one convolution: the one to the classes is its second
            repeated = [width] * (DEPTHS[level] if level else 1)
            block = make_block([*repeated, narrow], order)
            # behind the deepest three
            self.blocks.append(block.append(nn.Dropout(dropout)) if level >= 2 else block)
        self.classifier = nn.Conv2d(widths[0], num_classes, 3, padding=1)

    def forward(
        self,
        deepest: Tensor,
        places: Sequence[Tensor],
        skips: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Pooled maps (B, C_5, H/32, W/32) -> logits (B, K, H, W).

        `places` are the indices of the five poolings, finest first; `skips`, of the sizes before
        these, are added to what has been put back there.
        """
        state = deepest
        for level, block in zip(reversed(range(len(DEPTHS))), self.blocks, strict=True):
            state = F.max_unpool2d(state, places[level], [2, 2])
            if skips is not None:
                state = state + skips[level]
            state = block(state)
        return self.classifier(state)


def pool_with_places(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Max-pool (B, C, H, W) by 2, with the flat index of each maximum."""
    pooled: Any = F.max_pool2d(maps, 2, return_indices=True)
    return pooled


def make_encoder(
    channels: Sequence[int],
    widths: Sequence[int],
    order: Order,
    weights: str | None = None,
    path: str | None = None,
) -> Encoder:
    """Make an encoder of one or several images' channels, at random or from pretrained weights.

    `weights` are timm's `vgg16_bn`, or `vgg16`, which has convolutions only, `path` a local file.
    """
    if weights is None:
        return Encoder(sum(channels), widths, order)
    if tuple(widths) != block_widths("vgg16"):
        raise UserError("There are pretrained weights of vgg16 itself only: set pretrained: false.")
    encoder = Encoder(3, widths, order)
    kinds = (nn.Conv2d, nn.BatchNorm2d) if weights == "vgg16_bn" else (nn.Conv2d,)
    source, target = (
        [part for part in network.modules() if isinstance(part, kinds)]
        for network in (create_pyramid(weights, True, path), encoder)
    )
    # both are one chain, and a shape that differs is an error
    for ours, theirs in zip(target, source, strict=True):
        ours.load_state_dict(theirs.state_dict())
    block = encoder.blocks[0]
    block[0] = widen(block[0], channels, keep=True)
    return encoder


def draw_convolutions(module: nn.Module) -> None:
    """Draw the convolutions of a module as He et al., with biases of 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
