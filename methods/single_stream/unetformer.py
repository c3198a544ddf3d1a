"""UNetFormer (Wang et al., ISPRS J. 190, 2022): global-local attention on a ResNet's pyramid.

Written from the paper's structure as the dossier of comparison networks states it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.heads import upsample_bilinear
from methods.single_stream.first_layer import create_resnet

WINDOW = 8  # pixels of a map, of attention and of the strips that mix its results


def conv_norm_relu6(channels: int, width: int) -> nn.Sequential:
    """3x3 convolution without bias, batch norm, ReLU6."""
    conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU6())


def extend(maps: Tensor, right: int, bottom: int) -> Tensor:
    """Grow maps (B, C, H, W) to the right and below by their mirror image.

    A mirror has no more pixels than the map less one: more are copies of the edge.
    """
    for pad, side in (((0, right, 0, 0), maps.shape[3]), ((0, 0, 0, bottom), maps.shape[2])):
        if any(pad):
            maps = F.pad(maps, pad, mode="reflect" if max(pad) < side else "replicate")
    return maps


class WindowAttention(nn.Module):
    """Attention inside windows of a map with a learned bias by relative position, as in Swin.

    The channels of `qkv` are queries, keys and values, in each head by head.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.bias = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        places = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
        steps = places[:, None] - places[None] + WINDOW - 1
        rows, columns = steps.unbind(-1)
        self.register_buffer("index", rows * (2 * WINDOW - 1) + columns, persistent=False)
        self.index: Tensor

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W); sides that no window fits are extended and cropped."""
        batch, _, height, width = maps.shape
        whole = extend(self.qkv(maps), -width % WINDOW, -height % WINDOW)
        down, across = whole.shape[2] // WINDOW, whole.shape[3] // WINDOW
        parts = whole.reshape(batch, 3, self.heads, -1, down, WINDOW, across, WINDOW)
        # 3, windows, heads, pixels, channels of a head
        q, k, v = parts.permute(1, 0, 4, 6, 2, 5, 7, 3).flatten(5, 6).flatten(1, 3).unbind(0)
        bias = self.bias[self.index].permute(2, 0, 1).to(q.dtype)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        found = found.unflatten(2, (WINDOW, WINDOW)).unflatten(0, (batch, down, across))
        # heads and their channels, rows of windows and their rows, columns likewise
        found = found.permute(0, 3, 6, 1, 4, 2, 5).flatten(1, 2).flatten(2, 3).flatten(3, 4)
        return found[..., :height, :width]


class GlobalLocalAttention(nn.Module):
    """Window attention, spread along rows and columns, plus two convolutions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.point = nn.Conv2d(width, width, 1, bias=False)
        self.point_norm = nn.BatchNorm2d(width)
        self.local = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.local_norm = nn.BatchNorm2d(width)
        self.attention = WindowAttention(width, heads)
        self.depthwise = nn.Conv2d(width, width, WINDOW, padding=3, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.project = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        near = self.point_norm(self.point(maps)) + self.local_norm(self.local(maps))
        mixed = spread_along_axes(self.attention(maps)) + near
        return self.project(self.norm(self.depthwise(extend(mixed, 1, 1))))


def spread_along_axes(maps: Tensor) -> Tensor:
    """Add the means of a strip of eight pixels downwards and of one to the right.

    Zeros beyond the border count: a constant map loses weight there.

    Example:
        >>> spread_along_axes(torch.ones(1, 1, 8, 8))[0, 0, :4, 4]
        tensor([1.6250, 1.7500, 1.8750, 2.0000])
    """
    rows = F.avg_pool2d(extend(maps, 0, 1), (WINDOW, 1), 1, (3, 0))
    columns = F.avg_pool2d(extend(maps, 1, 0), (1, WINDOW), 1, (0, 3))
    return rows + columns


class Block(nn.Module):
    """Global-local attention and a perceptron of each pixel, both behind batch norms."""

    def __init__(self, width: int, heads: int, growth: int = 4) -> None:
        super().__init__()
        self.attention_norm = nn.BatchNorm2d(width)
        self.attention = GlobalLocalAttention(width, heads)
        self.perceptron_norm = nn.BatchNorm2d(width)
        self.perceptron = nn.Sequential(
            nn.Conv2d(width, growth * width, 1), nn.ReLU6(), nn.Conv2d(growth * width, width, 1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        maps = maps + self.attention(self.attention_norm(maps))
        return maps + self.perceptron(self.perceptron_norm(maps))


class WeightedFusion(nn.Module):
    """A finer map of the encoder and the coarser one of the decoder, with learned shares."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.lift = nn.Conv2d(channels, width, 1, bias=False)
        self.weights = nn.Parameter(torch.ones(2))
        self.smooth = conv_norm_relu6(width, width)

    def shares(self) -> Tensor:
        """Return how much the encoder's and the decoder's map count; they sum to 1."""
        weights = F.relu(self.weights)
        return weights / (weights.sum() + 1e-8)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(B, E, H/2, W/2) and (B, C, H, W) -> (B, E, H, W)."""
        first, second = self.shares()
        raised = upsample_bilinear(coarse, fine.shape[-2:])
        return self.smooth(first * self.lift(fine) + second * raised)


class FeatureRefinement(nn.Module):
    """The finest fusion, weighed by pixel and by channel."""

    def __init__(self, channels: int, width: int, ratio: int = 16) -> None:
        super().__init__()
        self.fusion = WeightedFusion(channels, width)
        self.by_pixel = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.by_channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width // ratio, 1, bias=False),
            nn.ReLU6(),
            nn.Conv2d(width // ratio, width, 1, bias=False),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))
        self.project = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 1, bias=False),
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(B, E, H/2, W/2) and (B, C, H, W) -> (B, E, H, W)."""
        maps = self.fusion(coarse, fine)
        weighed = (self.by_pixel(maps).sigmoid() + self.by_channel(maps).sigmoid()) * maps
        return F.relu6(self.project(weighed) + self.shortcut(maps))


class UNetFormerDecoder(nn.Module):
    """From a pyramid at strides 4, 8, 16, 32 to logits at stride 4.

    Args:
        channels: of the four maps, finest first.
        auxiliary: a second head, on the sum of the decoder's three coarser maps.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        width: int = 64,
        heads: int = 8,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        self.deepest = nn.Sequential(
            nn.Conv2d(channels[3], width, 1, bias=False), nn.BatchNorm2d(width)
        )
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(3))
        self.fusions = nn.ModuleList(WeightedFusion(channels[scale], width) for scale in (2, 1))
        self.finest = FeatureRefinement(channels[0], width)
        self.head = nn.Sequential(
            conv_norm_relu6(width, width),
            nn.Dropout2d(0.1),
            nn.Conv2d(width, num_classes, 1, bias=False),
        )
        self.auxiliary: nn.Module | None = None
        if auxiliary:
            self.auxiliary = nn.Sequential(
                conv_norm_relu6(width, width),
                nn.Dropout(0.1),
                nn.Conv2d(width, num_classes, 1, bias=False),
            )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """[(B, C_i, H_i, W_i)], finest first -> logits (B, K, H_1, W_1).

        In training with an auxiliary head also [(B, K, H_2, W_2)] of it, else an empty list.
        """
        fourth = self.blocks[0](self.deepest(maps[3]))
        third = self.blocks[1](self.fusions[0](fourth, maps[2]))
        second = self.blocks[2](self.fusions[1](third, maps[1]))
        logits = self.head(self.finest(second, maps[0]))
        if self.auxiliary is None or not self.training:
            return logits, []
        size = second.shape[-2:]
        fourth, third = (
            F.interpolate(part, size=size, mode="bilinear", align_corners=True)
            for part in (fourth, third)
        )
        return logits, [self.auxiliary(fourth + third + second)]


class UNetFormer(nn.Module):
    """A ResNet and the decoder; logits at stride 4, auxiliary ones at stride 8."""

    stride = 4

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        backbone: str,
        pretrained: bool = False,
        pretrained_path: str | None = None,
    ) -> None:
        super().__init__()
        first, self.pyramid = create_resnet(channels, backbone, pretrained, pretrained_path)
        self.first = nn.ModuleList([first])
        self.decoder = UNetFormerDecoder(self.pyramid.feature_info.channels(), num_classes)

    def forward(self, responses: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """What `first` returns, [(B, 64, H/2, W/2)] -> logits (B, K, H/4, W/4), and auxiliary."""
        return self.decoder(self.pyramid(responses[0]))
