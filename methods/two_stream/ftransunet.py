"""FTransUNet: TransUNet with a stream per sensor, fused in the ResNet and in the transformer.

Ma, Zhang, Pun, Liu, IEEE TGRS 62 (2024). Ours: more than two streams, any subset of them, any size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.heads import to_image_size
from methods.parts.network import Fused, Present, all_present
from methods.streams import StreamNetwork, check_several
from methods.two_stream.hybrid import Trunk, size_of
from methods.two_stream.hybrid_weights import load_weights, resize_positions
from methods.two_stream.stream_transformer import DROPOUT, StreamTransformer

GRID = 16  # of the positions, for an image of 256 px


def _conv(channels: int, width: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(width), nn.ReLU()]


class Decoder(nn.Module):
    """Tokens as a map, doubled four times; all but the last time with a skip beside it.

    Args:
        width: channels of the tokens.
        skips: channels of the skips, the coarsest first.
        first: the ResNet's first width, from which those of the decoder follow.
    """

    def __init__(self, width: int, skips: Sequence[int], first: int, num_classes: int) -> None:
        super().__init__()
        widths = (8 * first, 4 * first, 2 * first, first, first // 4)
        self.start = nn.Sequential(*_conv(width, widths[0]))
        self.blocks = nn.ModuleList()
        for before, skip, after in zip(widths[:-1], (*skips, 0), widths[1:], strict=True):
            self.blocks.append(nn.Sequential(*_conv(before + skip, after), *_conv(after, after)))
        self.head = nn.Conv2d(widths[-1], num_classes, 3, padding=1)

    def forward(self, maps: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """(B, D, h, w) and the coarsest skip first -> logits (B, K, 16h, 16w)."""
        state = self.start(maps)
        for block, skip in zip(self.blocks, [*skips, None], strict=True):
            state = F.interpolate(state, scale_factor=2.0, mode="bilinear", align_corners=True)
            if skip is not None:
                # the pooling without padding has cost a row and a column
                rows, columns = state.shape[2] - skip.shape[2], state.shape[3] - skip.shape[3]
                state = torch.cat([state, F.pad(skip, (0, columns, 0, rows))], 1)
            state = block(state)
        return self.head(state)


class FTransUNetNetwork(StreamNetwork):
    """FTransUNet.

    Args:
        backbone: one of `hybrid.SIZES`, for every stream, with the tag of its weights.
        pretrained_path: local weight file instead of the cache.
        projection_groups: of the norms in the ResNets' shortcuts. None, as released, for as many as
            channels; 32 in the network whose weights are loaded.
    """

    first_stride = 2

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        backbone: str = "vit_base_r50_s16_224",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        projection_groups: int | None = None,
    ) -> None:
        super().__init__(modalities)
        check_several(modalities, "FTransUNet")
        size = size_of(backbone)
        self.trunks: Any = nn.ModuleDict()
        for m, channels in modalities.items():
            self.trunks[m] = Trunk(channels, size, projection_groups)
        self.positions = nn.Parameter(torch.zeros(1, size.width, GRID, GRID))
        self.dropout = nn.Dropout(DROPOUT)
        self.transformer = StreamTransformer(len(modalities), size)
        self.decoder = Decoder(size.width, size.widths[2::-1], size.first, num_classes)
        if pretrained:
            load_weights(
                self.trunks.values(), self.transformer, self.positions, backbone, pretrained_path
            )

    def encoding_modules(self) -> list[nn.Module]:
        """See the base class."""
        return [self.trunks[m] for m in self.others]

    def run_alone(self, modality: str, image: Tensor) -> list[Tensor]:
        """Gated maps at strides 2 to 16 and tokens; of the main modality the first map only."""
        trunk = self.trunks[modality]
        return trunk.run_first(image) if modality == self.main else trunk(image)

    def fuse_streams(self, main: list[Tensor], others: list[list[Tensor]]) -> Fused:
        """Predict logits (B, K, H, W); no extras."""
        (*skips, _), tokens = self.trunks[self.main].finish(main[0], others)
        streams, grid = [], tokens.shape[2:]
        for maps in (tokens, *(stream[-1] for stream in others)):
            placed = self.dropout(maps + resize_positions(self.positions, maps))
            streams.append(placed.flatten(2).transpose(1, 2))
        fused = self.transformer(streams).transpose(1, 2).unflatten(2, grid)
        return self.decoder(fused, skips[::-1]), {}

    def forward(self, images: Mapping[str, Tensor], present: Present | None = None) -> Tensor:
        """See the base class; what an image of zeros makes is a constant of the loss.

        Groups are normed for each sample, and an eps of 1e-6 lets gradients grow a thousandfold.
        """
        if present is None or all_present(list(present), present):
            return super().forward(images, present)
        size = next(iter(images.values())).shape[-2:]
        encoded = self.encode_blanked(images, present, self.channels)
        return to_image_size(self.fuse(encoded)[0], size, self.stride)
