"""The thin convolutional U-Net of mmFormer and its descendants, in two dimensions.

Source: mmFormer's second public release (Apache-2.0, YaoZhang93/mmFormer b18663a), which is
three-dimensional, and its 2-D form in GEMMNet (arXiv 2509.11102); written anew from a description,
nothing is copied. Layers have PyTorch's default initialisation; a method with another one applies
it to its whole network.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (8, 16, 32, 64, 128)
STRIDE = 16  # of the last map
LEAST = 32  # shortest side that leaves the last map something to reflect
EPS = 1e-5
SLOPE = 0.2

NormKind = Literal["instance", "layer"]


def normalise_maps(features: Tensor, norm: NormKind) -> Tensor:
    """(B, C, H, W) with mean 0 and biased variance 1, without scale or shift, eps 1e-5.

    `instance`: every channel of a sample by itself; `layer`: the sample over C, H and W.
    """
    if norm == "instance":
        return F.instance_norm(features, eps=EPS)
    return F.group_norm(features, 1, eps=EPS)


class PreConv(nn.Module):
    """Norm, LeakyReLU(0.2), convolution with bias; fusion blocks pad with `zeros`."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 3,
        stride: int = 1,
        padding_mode: Literal["reflect", "zeros"] = "reflect",
        norm: NormKind = "instance",
    ) -> None:
        super().__init__()
        if norm not in get_args(NormKind):
            raise ValueError(f"norm {norm!r} is none of {get_args(NormKind)}")
        self.norm: NormKind = norm
        mode = padding_mode if kernel > 1 else "zeros"  # nothing is padded
        self.conv: Any = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, padding_mode=mode)

    def pre_activate(self, features: Tensor) -> Tensor:
        """What comes before the convolution, shape unchanged; zeros stay zeros with `instance`."""
        # in place: the norm's result is read by nothing else, and kept for backward otherwise
        return F.leaky_relu(normalise_maps(features, self.norm), SLOPE, inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H/stride, W/stride)."""
        return self.conv(self.pre_activate(features))


class PyramidEncoder(nn.Module):
    """Five stages, each a convolution (stride 2 from the second on) and a residual pair."""

    def __init__(self, channels: int, norm: NormKind = "instance") -> None:
        super().__init__()
        # the first convolution sees the image as it is: no norm, no activation
        stem = nn.Conv2d(channels, WIDTHS[0], 3, padding=1, padding_mode="reflect")
        firsts: list[nn.Module] = [stem]
        firsts += [PreConv(c, 2 * c, stride=2, norm=norm) for c in WIDTHS[:-1]]
        self.firsts = nn.ModuleList(firsts)
        self.pairs = nn.ModuleList(
            nn.Sequential(PreConv(c, c, norm=norm), PreConv(c, c, norm=norm)) for c in WIDTHS
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Encode (B, c, H, W), sides multiples of 16, as five maps at strides 1 to 16."""
        maps, features = [], image
        for first, pair in zip(self.firsts, self.pairs, strict=True):
            features = first(features)
            features = features + pair(features)
            maps.append(features)
        return maps


class FusionBlock(nn.Module):
    """Fuse M maps of c channels, concatenated, by three PreConvs: 1x1 (M c -> c), 3x3, 1x1.

    With `instance` the first one separates over the modalities (its norm and activation are per
    channel, its convolution linear), and a modality of zeros adds nothing.
    """

    def __init__(self, modalities: int, channels: int, norm: NormKind = "instance") -> None:
        super().__init__()
        self.modalities = modalities
        self.first = PreConv(modalities * channels, channels, 1, norm=norm)
        self.rest = nn.Sequential(
            PreConv(channels, channels, 3, padding_mode="zeros", norm=norm),
            PreConv(channels, channels, 1, norm=norm),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, M*c, h, w), modality after modality -> (B, c, h, w)."""
        return self.rest(self.first(maps))

    def partial_sum(self, index: int, features: Tensor) -> Tensor:
        """Compute what modality `index` adds to the first convolution, without its bias."""
        if self.first.norm != "instance":
            raise ValueError("only the norm `instance` lets the fusion separate over modalities")
        # instance norm and activation act per channel, so the convolution splits by modality
        weight = self.first.conv.weight.chunk(self.modalities, dim=1)[index]
        return F.conv2d(self.first.pre_activate(features), weight)

    def finish_fusion(self, total: Tensor) -> Tensor:
        """Turn the present modalities' sum of `partial` (B, c, h, w) into the output."""
        return self.rest(total + self.first.conv.bias[:, None, None])


class _UpStep(nn.Module):
    """One step of a decoder: double the size, halve the width, join the skip of this scale."""

    def __init__(self, channels: int, norm: NormKind) -> None:
        super().__init__()
        self.lift = PreConv(2 * channels, channels, norm=norm)
        self.merge = PreConv(2 * channels, channels, norm=norm)
        self.mix = PreConv(channels, channels, 1, norm=norm)

    def raise_up(self, below: Tensor) -> Tensor:
        """(B, 2c, h, w) -> (B, c, 2h, 2w)."""
        twice = F.interpolate(below, scale_factor=2.0, mode="bilinear", align_corners=True)
        return self.lift(twice)

    def join_skip(self, left: Tensor, right: Tensor) -> Tensor:
        """Two maps (B, c, h, w), in the order of their channels -> one."""
        return self.mix(self.merge(torch.cat([left, right], 1)))


def _steps(norm: NormKind) -> nn.ModuleList:
    """From stride 8 to stride 1."""
    return nn.ModuleList(_UpStep(c, norm) for c in reversed(WIDTHS[:-1]))


class FusedDecoder(nn.Module):
    """Fusion blocks at five scales, the decoder and its head, and heads at four coarser scales."""

    def __init__(
        self, modalities: int, num_classes: int, norm: NormKind = "instance", auxiliary: bool = True
    ) -> None:
        super().__init__()
        self.fusion = nn.ModuleList(FusionBlock(modalities, c, norm) for c in WIDTHS)
        self.steps = _steps(norm)
        self.head = nn.Conv2d(WIDTHS[0], num_classes, 1)
        widths = reversed(WIDTHS[1:]) if auxiliary else ()
        self.heads = nn.ModuleList(nn.Conv2d(c, num_classes, 1) for c in widths)

    def forward(
        self, maps: Sequence[Tensor], with_auxiliary: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Five concatenations (B, M*c_i, H/2^i, W/2^i), finest first -> see `decode`."""
        pairs = zip(self.fusion, maps, strict=True)
        return self.decode([block(features) for block, features in pairs], with_auxiliary)

    def decode(
        self, fused: Sequence[Tensor], with_auxiliary: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Decode the outputs of the five fusion blocks, (B, c_i, H/2^i, W/2^i), finest first.

        Returns logits (B, K, H, W), and those of the auxiliary heads at strides 16, 8, 4, 2.
        """
        *skips, state = fused
        states = [state]
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            states.append(step.join_skip(skip, step.raise_up(states[-1])))
        # zip stops at the last head: the finest state has its own
        heads = self.heads if with_auxiliary else ()
        coarse = [head(state) for head, state in zip(heads, states, strict=False)]
        return self.head(states[-1]), coarse


class UnimodalDecoder(nn.Module):
    """Decode the maps of one modality without fusion; all modalities share this decoder."""

    def __init__(self, num_classes: int, norm: NormKind = "instance") -> None:
        super().__init__()
        self.steps = _steps(norm)
        self.head = nn.Conv2d(WIDTHS[0], num_classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Five maps of a `PyramidEncoder` -> logits (B, K, H, W)."""
        *skips, state = maps
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            # the released order: here the lifted map comes first
            state = step.join_skip(step.raise_up(state), skip)
        return self.head(state)
