"""MAResU-Net (Li et al., IEEE GRSL 19, 2022): attention on every level of a ResNet's pyramid."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from methods.single_stream.first_layer import create_resnet
from methods.single_stream.layers import ChannelAttention, LinearAttention


class PointBlock(nn.Sequential):
    """Dropout of channels, 1x1 convolution, ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Dropout2d(0.1), nn.Conv2d(width, width, 1), nn.ReLU())


class AttentionBlock(nn.Module):
    """Attention over pixels and over channels of the same map, side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.pixels, self.channels = LinearAttention(width), ChannelAttention()
        self.after_pixels, self.after_channels = PointBlock(width), PointBlock(width)
        self.together = PointBlock(width)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        maps = F.relu(self.conv(maps))
        pixels = self.after_pixels(maps + self.pixels(maps))
        return self.together(pixels + self.after_channels(self.channels(maps)))


class Rise(nn.Sequential):
    """(B, C, H, W) -> (B, E, 2H, 2W), by a transposed convolution of a quarter of C."""

    def __init__(self, channels: int, width: int) -> None:
        narrow = channels // 4
        super().__init__(
            *(nn.Conv2d(channels, narrow, 1), nn.BatchNorm2d(narrow), nn.ReLU()),
            nn.ConvTranspose2d(narrow, narrow, 3, stride=2, padding=1, output_padding=1),
            *(nn.BatchNorm2d(narrow), nn.ReLU()),
            *(nn.Conv2d(narrow, width, 1), nn.BatchNorm2d(width), nn.ReLU()),
        )


class MAResUNet(nn.Module):
    """MAResU-Net; no auxiliary head."""

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
        self.first = nn.ModuleList([first])
        widths = self.pyramid.feature_info.channels()
        self.attention = nn.ModuleList(AttentionBlock(width) for width in widths)
        # from the coarsest level to half the image's size
        pairs = zip(widths[::-1], [*widths[-2::-1], widths[0]], strict=True)
        self.rises = nn.ModuleList(Rise(wide, narrow) for wide, narrow in pairs)
        self.head = nn.Sequential(
            *(nn.ConvTranspose2d(widths[0], 32, 4, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()),
            nn.Conv2d(32, num_classes, 3, padding=1),
        )

    def forward(self, responses: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """What `first` returns, [(B, 64, H/2, W/2)] -> logits (B, K, H, W), no auxiliary ones."""
        pairs = zip(self.attention, self.pyramid(responses[0]), strict=True)
        *levels, maps = [attend(level) for attend, level in pairs]
        for rise in self.rises:
            maps = rise(maps)
            if levels:
                maps = maps + levels.pop()
        return self.head(maps), []
