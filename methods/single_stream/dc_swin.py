"""DC-Swin (Wang et al., IEEE GRSL 19, 2022): a Swin Transformer and densely connected decoding."""

from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.backbones import create_pyramid, widen
from methods.parts.precision import at_least_float32
from methods.single_stream.layers import (
    ChannelKernelAttention,
    LinearAttention,
    conv_norm_relu,
)
from usererror import UserError

# of our own, for the small scale; others are timm's
SMALL = "swin_nano_patch4_window7"
NANO = {"embed_dim": 32, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)}


def create_swin(
    channels: Sequence[int], backbone: str, pretrained: bool, pretrained_path: str | None
) -> tuple[nn.Conv2d, Any]:
    """Create a Swin Transformer for all channels and any size: its first convolution, and the rest.

    The rest makes four maps (B, h, w, C), channels last, of what the first convolution returns.
    """
    # windows are shifted in maps of one window too, whatever size the weights were trained at
    options: dict[str, Any] = {"strict_img_size": False, "always_partition": True}
    name = backbone
    if backbone == SMALL:
        if pretrained:
            raise UserError(f"{SMALL} is our own and has no weights: set pretrained: false.")
        name, options = "swin_tiny_patch4_window7_224", {**options, **NANO}
    if not name.startswith("swin_"):
        raise UserError(f"{backbone} is no Swin Transformer; take {SMALL} or timm's swin_... .")
    pyramid: Any = create_pyramid(name, pretrained, pretrained_path, 0.3, **options)
    first, pyramid.patch_embed.proj = pyramid.patch_embed.proj, nn.Identity()
    return widen(first, channels, pretrained), pyramid


class Down(nn.Module):
    """(B, C, H, W) -> (B, E, H/2, W/2): two convolutions beside one."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.deep = nn.Sequential(
            conv_norm_relu(channels, width),
            nn.Conv2d(width, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.short = nn.Sequential(
            nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, E, H/2, W/2)."""
        return F.relu(self.deep(maps) + self.short(maps))


class Large(nn.Sequential):
    """(B, C, H, W) -> (B, C/4, 4H, 4W), by dilated depthwise convolutions."""

    def __init__(self, channels: int) -> None:
        parts: list[nn.Module] = []
        for width, dilation in ((channels, 6), (channels // 2, 12)):
            around = nn.Conv2d(width, width, 3, 1, dilation, dilation, groups=width, bias=False)
            parts += [around, conv_norm_relu(width, width // 2, 1), nn.Upsample(scale_factor=2)]
        super().__init__(*parts)


class DCSwin(nn.Module):
    """DC-Swin; no auxiliary head.

    Args:
        freeze: the patch embedding, the first stage and the merging behind it stay as they are, as
            published; of use with pretrained weights only.
    """

    stride = 1

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        backbone: str,
        pretrained: bool = False,
        pretrained_path: str | None = None,
        freeze: bool = False,
    ) -> None:
        super().__init__()
        first, self.pyramid = create_swin(channels, backbone, pretrained, pretrained_path)
        self.first = nn.ModuleList([first])
        c1, c2, c3, c4 = self.pyramid.feature_info.channels()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in (c1, c2, c3, c4))
        self.pixels, self.channels = LinearAttention(c3), ChannelKernelAttention()
        self.down12, self.down13 = Down(c1, c2), Down(c2, c3)
        self.down23, self.down24 = Down(c2, c3), Down(c3, c4)
        self.deepest = nn.Conv2d(c4, c4, 1, bias=False)
        self.finest = nn.Conv2d(c1, c1, 1, bias=False)
        self.rise4, self.rise3 = Large(c4), Large(c3)
        self.rise2 = nn.Sequential(conv_norm_relu(c2, c1), nn.Upsample(scale_factor=2))
        self.head = nn.Sequential(
            nn.Dropout2d(0.05), conv_norm_relu(c1, c1), nn.Conv2d(c1, num_classes, 1, bias=False)
        )
        self._frozen: list[nn.Module] = []
        if freeze:
            part = self.pyramid
            self._frozen = [first, part.patch_embed, part.layers_0, part.layers_1.downsample]
            for module in self._frozen:
                module.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Switch mode; what is frozen stays in that of evaluation."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def attend(self, maps: Tensor) -> Tensor:
        """Attention over pixels with a residual, (B, C, H, W)."""
        return maps + self.pixels(maps)

    def forward(self, responses: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """What `first` returns, [(B, E, H/4, W/4)] -> logits (B, K, H, W), no auxiliary ones."""
        pairs = zip(self.norms, self.pyramid(responses[0]), strict=True)
        x1, x2, x3, x4 = (norm(level).permute(0, 3, 1, 2) for norm, level in pairs)
        o4 = self.deepest(x4) + self.down24(self.attend(self.down23(x2)))
        o3 = self.attend(x3) + self.down13(self.channels(self.down12(x1)))
        o2 = self.channels(x2) + self.rise4(o4)
        o1 = self.rise3(o3) + self.finest(x1)
        logits = at_least_float32(self.head(o1 + self.rise2(o2)))
        size = [4 * side for side in logits.shape[-2:]]
        return F.interpolate(logits, size, mode="bilinear", align_corners=True), []
