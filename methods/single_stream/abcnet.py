"""ABCNet (Li et al., ISPRS J. 181, 2021): a context path and a spatial path, linear attention."""

from collections.abc import Sequence

from torch import Tensor, cat, nn
from torch.nn import functional as F

from methods.single_stream.first_layer import create_resnet
from methods.single_stream.layers import LinearAttention, conv_norm_relu

WIDTH = 128  # of the context path and of the spatial one


class AttentionEnhancement(nn.Sequential):
    """Convolution, attention without a residual, batch norm: at the start it passes nothing."""

    def __init__(self, channels: int) -> None:
        conv = conv_norm_relu(channels, WIDTH)
        super().__init__(conv, LinearAttention(WIDTH), nn.BatchNorm2d(WIDTH))


class ShuffleHead(nn.Sequential):
    """A classifier for each of the `scale`^2 pixels of a cell: logits at the image's size."""

    def __init__(self, channels: int, width: int, num_classes: int, scale: int) -> None:
        classify = nn.Conv2d(width, num_classes * scale**2, 1)
        super().__init__(conv_norm_relu(channels, width), classify, nn.PixelShuffle(scale))


class ABCNet(nn.Module):
    """ABCNet; both paths begin with a convolution of the image."""

    stride = 1

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
        spatial = nn.Conv2d(sum(channels), 64, 7, 2, 3, bias=False)
        self.first = nn.ModuleList([first, spatial])
        sixteenth, deepest = self.pyramid.feature_info.channels()[2:]
        self.average = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_norm_relu(deepest, WIDTH, 1))
        self.enhance32, self.enhance16 = map(AttentionEnhancement, (deepest, sixteenth))
        self.smooth32, self.smooth16 = (conv_norm_relu(WIDTH, WIDTH) for _ in range(2))
        self.spatial = nn.Sequential(
            nn.BatchNorm2d(64),
            nn.ReLU(),
            conv_norm_relu(64, 64, stride=2),
            conv_norm_relu(64, 64, stride=2),
            conv_norm_relu(64, WIDTH, 1),
        )
        self.mix = conv_norm_relu(2 * WIDTH, 2 * WIDTH, 1)
        self.attention = LinearAttention(2 * WIDTH)
        self.head = ShuffleHead(2 * WIDTH, 256, num_classes, 8)
        self.auxiliary16 = ShuffleHead(WIDTH, 64, num_classes, 8)
        self.auxiliary32 = ShuffleHead(WIDTH, 64, num_classes, 16)
        for name, part in self.named_modules():
            attention = name.rpartition(".")[2] in ("query", "key", "value")
            ours = not name.startswith(("pyramid.", "first.0")) and not attention
            if isinstance(part, nn.Conv2d) and ours:
                nn.init.kaiming_normal_(part.weight, a=1)

    def forward(self, responses: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """What `first` returns, [(B, 64, H/2, W/2)] * 2 -> logits (B, K, H, W).

        In training also those of two auxiliary heads, else an empty list.
        """
        context, spatial = responses
        sixteenth, deepest = self.pyramid(context)[2:]
        coarse = self.enhance32(deepest) + self.average(deepest)
        coarse = self.smooth32(F.interpolate(coarse, scale_factor=2.0))
        fine = self.smooth16(F.interpolate(self.enhance16(sixteenth) + coarse, scale_factor=2.0))
        mixed = self.mix(cat([self.spatial(spatial), fine], 1))
        logits = self.head(mixed * self.attention(mixed) + mixed)
        heads = [self.auxiliary16(fine), self.auxiliary32(coarse)] if self.training else []
        return logits, heads
