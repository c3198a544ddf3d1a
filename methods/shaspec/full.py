"""The published encoder and decoder of ShaSpec in two dimensions (dossier II.2 and II.4)."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.kernel_folding import FoldCache
from methods.shaspec.layers import (
    StandardisedConv,
    basic_block,
    bottleneck_stage,
    conv_norm_act,
    init_kaiming,
    instance_norm,
    leaky_activation,
    standardise_filters,
)

BLOCKS = (3, 4, 6, 3)
STAGES = (1, 2, 4, 5)  # widths of the bottlenecks, in units of the stem's
DILATIONS = (2, 4, 8)


class Features(NamedTuple):
    """An encoder's result: `maps` finest first, `vector` (B, C), `output` (B, C, h, w)."""

    maps: list[Tensor]
    vector: Tensor
    output: Tensor


class DeadNorm(nn.InstanceNorm2d):
    """Instance norm of single values, which torch refuses: what is left is the shift."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the shift in the shape (B, C, 1, 1), without gradient, but with a graph."""
        # zero, but with a graph: distributed training waits for every parameter's gradient
        centred = features - features
        return self.weight[:, None, None] * centred + self.bias[:, None, None]


class ASPP(nn.Module):
    """Join five views of a map (1x1; 3x3 of dilation 2, 4, 8; its mean) by a 1x1 convolution."""

    def __init__(self, channels: int, pooling_norm: bool) -> None:
        super().__init__()
        self.views = nn.ModuleList([conv_norm_act(channels, channels, 1)])
        self.views.extend(
            conv_norm_act(channels, channels, 3, dilation=dilation) for dilation in DILATIONS
        )
        self.pooled = nn.Sequential(StandardisedConv(channels, channels, 1, bias=not pooling_norm))
        # released: the norm of a single pixel leaves no information in this view (dossier S2)
        if pooling_norm:
            self.pooled.append(DeadNorm(channels, affine=True))
        self.join = conv_norm_act(5 * channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        pooled = leaky_activation(self.pooled(features.mean((2, 3), keepdim=True)))
        views = [view(features) for view in self.views]
        return self.join(torch.cat([*views, pooled.expand_as(views[0])], 1))


class ResidualEncoder(nn.Module):
    """A ResNet-50 with a narrower last stage (a stem of 64 is published), reduced, and an ASPP."""

    def __init__(self, channels: int, width: int, pooling_norm: bool) -> None:
        super().__init__()
        self.stem = conv_norm_act(channels, width, 7, 2)
        self.shrink = nn.MaxPool2d(3, 2, 1)
        inputs = (width, *(4 * width * unit for unit in STAGES))
        self.stages = nn.ModuleList()
        for c_in, unit, blocks in zip(inputs[:-1], STAGES, BLOCKS, strict=True):
            stride = 2 if self.stages else 1
            self.stages.append(bottleneck_stage(c_in, width * unit, blocks, stride))
        self.reduction = conv_norm_act(inputs[-1], 4 * width, 1)
        self.aspp = ASPP(4 * width, pooling_norm)
        init_kaiming(self)

    def forward(self, image: Tensor) -> Features:
        """Encode (B, c, H, W), sides multiples of 32: maps at strides 2 to 16, the output at 32."""
        maps = [self.stem(image)]
        features = self.shrink(maps[0])
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        # dossier S9: the vector that tells the modality is taken before the ASPP
        reduced = self.reduction(maps.pop())
        return Features(maps, reduced.mean((2, 3)), self.aspp(reduced))


class SkipDecoder(nn.Module):
    """Transposed convolutions with residual blocks; each takes the sum of the modalities' skips."""

    stride = 2
    multiple, at_least = 32, 64  # an instance norm of a single pixel would leave nothing of it

    def __init__(self, modalities: int, num_classes: int, width: int) -> None:
        super().__init__()
        self.modalities = modalities
        widths = (4 * width, 2 * width, width, width // 2)
        sources = (16 * width, 8 * width, 4 * width, width)
        inputs = (modalities * widths[0], *widths[:-1])
        pairs = list(zip(inputs, widths, strict=True))
        self.lifts = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2, bias=False) for a, b in pairs)
        pairs = list(zip(sources, widths, strict=True))
        self.joins = nn.ModuleList(StandardisedConv(modalities * a, b, 1) for a, b in pairs)
        self.norms = nn.ModuleList(instance_norm(c) for c in widths)
        self.blocks = nn.ModuleList(basic_block(c) for c in widths)
        self.head = nn.Conv2d(widths[-1], num_classes, 1, bias=False)
        self._absent: dict[tuple[int, ...], FoldCache] = {}
        init_kaiming(self)

    def train(self, mode: bool = True) -> Self:
        """Switch mode; a new eval phase computes the absent modalities' skips anew."""
        self._absent.clear()
        return super().train(mode)

    def skip_parts(self, index: int, maps: Sequence[Tensor]) -> list[Tensor]:
        """Compute what modality `index` adds to each skip from the shared encoder's `maps`."""
        # the skip's 1x1 convolution over the concatenated modalities is linear: its parts add up
        own = []
        for join, features in zip(reversed(self._joins()), maps, strict=True):
            part = standardise_filters(join.weight).chunk(self.modalities, 1)[index]
            own.append(F.conv2d(features, part))
        return own

    def _joins(self) -> list[Any]:
        return list(self.joins)

    def absent_skips(self, shared: nn.Module, image: Tensor) -> list[list[Tensor]]:
        """Compute for each modality the skips of zeros, (1, c, H, W) (dossier S5)."""

        # an instance norm multiplies the gradient of a constant image's features by up to 316, and
        # overflows through 40 of them: none passes here
        def make_skips() -> list[list[Tensor]]:
            with torch.no_grad():
                maps = shared(image).maps
            return [self.skip_parts(index, maps) for index in range(self.modalities)]

        if self.training:
            return make_skips()
        cache = self._absent.setdefault(tuple(image.shape), FoldCache())
        sources = [*shared.parameters(), *(join.weight for join in self._joins())]
        return cache.get(sources, make_skips)

    def forward(self, fused: Sequence[Tensor], skips: Sequence[Tensor]) -> Tensor:
        """Decode the M maps (B, C, H/32, W/32) and summed skips, finest first: (B, K, H/2, W/2)."""
        # all modalities side by side, generated ones included (eq. 3)
        state = torch.cat(list(fused), 1)
        layers = zip(self.lifts, reversed(skips), self.norms, self.blocks, strict=True)
        for lift, skip, normed, block in layers:
            state = block(lift(state) + leaky_activation(normed(skip)))
        return self.head(state)
