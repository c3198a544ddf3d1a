"""CMGFNet: two ResNets, thin maps of every level, gates between them and two decoders.

Hosseinpour, Samadzadegan, Dadrass Javan, ISPRS Journal 184 (2022), 96-115. Ours: more than two
streams, and any subset of them.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.network import Fused, Present, as_mask
from methods.single_stream.first_layer import create_resnet
from methods.streams import StreamNetwork, check_several

WIDTH = 16  # of the maps that are fused and decoded
LEVELS = 6


class SideEncoder(nn.Module):
    """A ResNet, pooled once more at its end, and a 1x1 convolution for each of six levels.

    (B, C, H, W), sides multiples of 64 -> [(B, 16, H/2^k, W/2^k)], k = 1 to 6.
    """

    def __init__(
        self, backbone: str, channels: int, pretrained: bool, pretrained_path: str | None
    ) -> None:
        super().__init__()
        self.first, trunk = create_resnet([channels], backbone, pretrained, pretrained_path)
        if not pretrained:
            for part in trunk.modules():
                if isinstance(part, nn.BatchNorm2d):
                    # timm starts the last of each block at 0, torchvision's ResNet does not
                    nn.init.ones_(part.weight)
        self.trunk = trunk
        stages = trunk.feature_info.channels()
        widths = (trunk.bn1.num_features, *stages, stages[-1])
        self.sides = nn.ModuleList(nn.Conv2d(channels, WIDTH, 1) for channels in widths)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Encode an image, see the class."""
        maps, image = [], self.first(image)
        for name, layer in self.trunk.items():
            image = layer(image)
            # the first level is the stem without its pooling
            if name == "act1" or name.startswith("layer"):
                maps.append(image)
        maps.append(F.max_pool2d(image, 2))
        return [side(features) for side, features in zip(self.sides, maps, strict=True)]


class UpBlock(nn.Module):
    """Double the size and narrow to 16 channels: a 1x1 convolution beside a separable path."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.short = nn.Conv2d(channels, WIDTH, 1)
        self.long = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.Conv2d(channels, WIDTH, 1),
            nn.BatchNorm2d(WIDTH),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 16, 2h, 2w)."""
        twice = F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=True)
        return self.short(twice) + self.long(twice)


class Decoder(nn.Module):
    """Six `UpBlock`s from stride 64 to the image's size, each but the first with a skip."""

    def __init__(self, skip: int) -> None:
        super().__init__()
        self.first = UpBlock(WIDTH)
        self.blocks = nn.ModuleList(UpBlock(skip + WIDTH) for _ in range(LEVELS - 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Six maps, the finest (B, C, H/2, W/2) first -> (B, 16, H, W)."""
        *skips, deepest = maps
        state = self.first(deepest)
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            state = block(torch.cat([skip, state], 1))
        return state


class Gate(nn.Module):
    """Weigh M maps against each other, in every channel and pixel, and set them side by side.

    A softmax over the maps, the last of which has the logit 0: of two maps it is the published
    sigmoid. The result has them in reverse order, as published.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.logits = nn.Conv2d(WIDTH * maps, WIDTH * (maps - 1), 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[(B, 16, h, w)] * M -> (B, 16 M, h, w)."""
        stacked = torch.stack(list(maps), 1)
        logits = self.logits(torch.cat(list(maps), 1)).unflatten(1, (len(maps) - 1, WIDTH))
        shares = F.pad(logits, (0, 0, 0, 0, 0, 0, 0, 1)).softmax(1)
        return (shares.to(stacked.dtype) * stacked).flip(1).flatten(1, 2)


def _head(channels: int, num_classes: int, relu: bool) -> nn.Sequential:
    last = nn.ReLU() if relu else nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, num_classes, 1), nn.BatchNorm2d(num_classes), last)


class CMGFNetNetwork(StreamNetwork):
    """CMGFNet.

    Args:
        backbone: a ResNet of timm for every stream.
        pretrained_path: local weight file instead of the cache.
        relu_logits: end every head with a ReLU, as released: no logit is negative.
        main_head: predict from the main modality alone by its own head, which sees nothing else,
            instead of by the fused one beside images of zeros.
    """

    first_stride = 2
    multiple = 2**LEVELS

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        backbone: str = "resnet34",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        relu_logits: bool = True,
        main_head: bool = False,
    ) -> None:
        super().__init__(modalities)
        check_several(modalities, "CMGFNet")
        self.main_head = main_head
        self.encoders = nn.ModuleDict()
        for m, channels in modalities.items():
            self.encoders[m] = SideEncoder(backbone, channels, pretrained, pretrained_path)
        count = len(modalities)
        self.main_decoder = Decoder(WIDTH)
        self.cross_decoder = Decoder(WIDTH * count)
        self.gates = nn.ModuleList(Gate(count) for _ in range(LEVELS - 1))
        self.last_gate = Gate(2)
        self.head = _head(2 * WIDTH, num_classes, relu_logits)
        self.heads = nn.ModuleDict(
            {name: _head(WIDTH, num_classes, relu_logits) for name in ("main", "cross")}
        )

    def encoding_modules(self) -> list[nn.Module]:
        """See the base class."""
        return [*self.encoders.values(), self.main_decoder]

    def run_alone(self, modality: str, image: Tensor) -> list[Tensor]:
        """Six maps of 16 channels at strides 2 to 64; the main modality's decoded one behind."""
        maps = self.encoders[modality](image)
        return [*maps, self.main_decoder(maps)] if modality == self.main else maps

    def fuse_streams(self, main: list[Tensor], others: list[list[Tensor]]) -> Fused:
        """Predict logits; in training those of the `heads` `main` and `cross` too."""
        *maps, own = main
        levels = []
        for number, gate in enumerate(self.gates):
            levels.append(gate([maps[number], *(stream[number] for stream in others)]))
        deepest = torch.stack([stream[-1] for stream in others]).mean(0)
        cross = self.cross_decoder([*levels, deepest])
        logits = self.head(self.last_gate([own, cross]))
        if not self.training:
            return logits, {}
        sources = {"main": own, "cross": cross}
        return logits, {"heads": {name: self.heads[name](maps) for name, maps in sources.items()}}

    def fuse(self, encoded: Mapping[str, list[Tensor]], present: Present | None = None) -> Fused:
        """See the base class, and `main_head`."""
        names = self.ordered_names(encoded)
        if not self.main_head or self.training or self.main not in names:
            return super().fuse(encoded, present)
        own = self.heads["main"](encoded[self.main][-1])
        if names == [self.main]:
            return own, {}
        logits, extras = super().fuse(encoded, present)
        if present is not None:
            company = torch.stack([present[m] for m in names if m != self.main]).any(0)
            logits = torch.where(as_mask(company), logits, own)
        return logits, extras
