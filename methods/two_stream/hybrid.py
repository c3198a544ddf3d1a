"""The sizes of FTransUNet's hybrids of a ResNet and a transformer, and the ResNet of a stream.

Layers are timm's, put together as TransUNet does: a pooling without padding, other eps, and
projections whose norms have a group for every channel.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from timm.layers import GroupNormAct, StdConv2d
from timm.models.resnetv2 import ResNetV2
from torch import Tensor, nn
from torch.nn import functional as F

from methods.two_stream.squeeze import Squeeze
from usererror import UserError

GROUPS = 32  # of the norms, where there are as many channels


class Size(NamedTuple):
    """The ResNet's first width and units of its three stages, the transformer's dimensions."""

    first: int
    units: tuple[int, int, int]
    width: int
    depth: int
    heads: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the ResNet's maps at strides 2, 4, 8 and 16."""
        return (self.first, 4 * self.first, 8 * self.first, 16 * self.first)


# timm's name of R50+ViT-B/16, a small one of ours for miniatures, the smallest for tests
SIZES = {
    "vit_base_r50_s16_224": Size(64, (3, 4, 9), 768, 12, 12),
    "vit_tiny_r50_w16": Size(16, (3, 4, 9), 192, 4, 3),
    "vit_micro_r50_w8": Size(8, (1, 1, 1), 32, 4, 2),
}


def size_of(backbone: str) -> Size:
    """Look up a backbone, with or without the tag of timm's weights.

    Raises:
        UserError: it is not one of `SIZES`.
    """
    size = SIZES.get(backbone.partition(".")[0])
    if size is None:
        raise UserError(f"FTransUNet has the backbones {', '.join(SIZES)}, not {backbone!r}.")
    return size


def _norm(channels: int, **options: Any) -> nn.Module:
    return GroupNormAct(channels, min(GROUPS, channels), eps=1e-6, **options)


class Trunk(nn.Module):
    """A stream up to its tokens: four steps of a ResNet, a gate behind each, an embedding.

    Args:
        projection_groups: of the norms in shortcuts; None for as many as channels.
    """

    def __init__(self, channels: int, size: Size, projection_groups: int | None) -> None:
        super().__init__()
        resnet: Any = ResNetV2(
            list(size.units),
            in_chans=channels,
            num_classes=0,
            stem_chs=size.first,
            channels=size.widths[1:],
            preact=False,
            norm_layer=_norm,
            conv_layer=partial(StdConv2d, eps=1e-5),
        )
        for stage in resnet.stages:
            shortcut = stage.blocks[0].downsample
            wide = shortcut.conv.out_channels
            groups = wide if projection_groups is None else projection_groups
            if groups < 1 or wide % groups:
                raise UserError(f"projection_groups: {groups} does not divide {wide} channels.")
            shortcut.norm = nn.GroupNorm(groups, wide)
        self.stem = nn.Sequential(resnet.stem.conv, resnet.stem.norm)
        self.stages = resnet.stages
        self.gates = nn.ModuleList(Squeeze(width) for width in size.widths)
        self.embedding = nn.Conv2d(size.widths[-1], size.width, 1)

    def run_step(self, level: int, maps: Tensor) -> Tensor:
        """Run the stem (level 0, half the size) or a stage on what the level before returned."""
        if level == 0:
            return self.stem(maps)
        # without padding: an even side gets one pixel less than its half
        return self.stages[level - 1](F.max_pool2d(maps, 3, 2) if level == 1 else maps)

    def run_first(self, image: Tensor) -> list[Tensor]:
        """Return the gated maps of the stem alone."""
        return [self.gates[0](self.stem(image))]

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> gated maps at strides 2, 4, 8, 16, and tokens (B, D, H/16, W/16)."""
        maps, found = image, []
        for level, gate in enumerate(self.gates):
            maps = self.run_step(level, maps)
            found.append(gate(maps))
        return [*found, self.embedding(maps)]

    def finish(self, first: Tensor, others: list[list[Tensor]]) -> tuple[list[Tensor], Tensor]:
        """Run the stages of the main stream, which goes on with the sums of all streams' maps.

        From what `run_first` returned of it and `forward` of all others to the sums at strides 2,
        4, 8, 16 and tokens (B, D, H/16, W/16).
        """
        sums: list[Tensor] = []
        for level, gate in enumerate(self.gates):
            own = first if level == 0 else gate(self.run_step(level, sums[-1]))
            sums.append(torch.stack([own, *(stream[level] for stream in others)]).sum(0))
        return sums, self.embedding(sums[-1])
