"""PSPNet (Zhao et al., CVPR 2017): a dilated ResNet and pooling over a pyramid of bins."""

from collections.abc import Sequence

from torch import Tensor, cat, nn
from torch.nn import functional as F

from methods.single_stream.first_layer import create_resnet
from methods.single_stream.layers import conv_norm_relu

BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """A map beside its means over 1, 4, 9 and 36 bins, each with a quarter of its channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(conv_norm_relu(channels, channels // 4, 1) for _ in BINS)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2 C, H, W)."""
        parts, size = [maps], maps.shape[-2:]
        for side, branch in zip(BINS, self.branches, strict=True):
            mean = branch(F.adaptive_avg_pool2d(maps, side))
            parts.append(F.interpolate(mean, size, mode="bilinear", align_corners=True))
        return cat(parts, 1)


class PSPNet(nn.Module):
    """PSPNet; logits, and in training auxiliary ones of the third stage, at stride 8."""

    stride = 8

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        backbone: str,
        pretrained: bool = False,
        pretrained_path: str | None = None,
    ) -> None:
        super().__init__()
        encoder = (backbone, pretrained, pretrained_path)
        first, self.pyramid = create_resnet(channels, *encoder, output_stride=8)
        self.first = nn.ModuleList([first])
        for stage, dilation in (("layer3", 2), ("layer4", 4)):
            for part in self.pyramid[stage].modules():
                if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3):
                    # of the first unit too, which libraries leave at that of the stage before
                    part.dilation = part.padding = (dilation, dilation)
        third, deepest = self.pyramid.feature_info.channels()[2:]
        self.pooling = PyramidPooling(deepest)
        self.head = self._head(2 * deepest, deepest // 4, num_classes)
        self.auxiliary = self._head(third, third // 4, num_classes)

    def _head(self, channels: int, width: int, num_classes: int) -> nn.Sequential:
        conv = conv_norm_relu(channels, width)
        return nn.Sequential(conv, nn.Dropout2d(0.1), nn.Conv2d(width, num_classes, 1))

    def forward(self, responses: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """What `first` returns, [(B, 64, H/2, W/2)] -> logits (B, K, H/8, W/8), and auxiliary."""
        third, deepest = self.pyramid(responses[0])[2:]
        logits = self.head(self.pooling(deepest))
        return logits, [self.auxiliary(third)] if self.training else []
