"""FuseNet: the maps of auxiliary encoders are added to those of the main one, block by block.

Hazirbas, Ma, Domokos, Cremers, ACCV 2016. Ours: more than one auxiliary encoder, any subset.
"""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.network import Fused
from methods.streams import StreamNetwork
from methods.vgg16.layers import (
    Decoder,
    Order,
    block_widths,
    draw_convolutions,
    make_encoder,
    pool_with_places,
)
from usererror import UserError


class FuseNetNetwork(StreamNetwork):
    """FuseNet, variant SF5: a sum behind each of five blocks.

    Args:
        backbone: `vgg16`, or `vgg16_w16` with a quarter of its widths.
        pretrained_path: local weight file instead of the cache.
        fusion: `sum`, as in the paper, or `mean` over the modalities.
        dropout: behind the poolings of blocks 3 and 4, that of the main block 5, and the deepest
            three blocks of the decoder.
        order: of norm and activation.
    """

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        backbone: str = "vgg16",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        fusion: Literal["sum", "mean"] = "sum",
        dropout: float = 0.5,
        order: Order = "bn_relu",
    ) -> None:
        super().__init__(modalities)
        if fusion not in ("sum", "mean"):
            raise UserError(f"fusion {fusion!r} is neither sum nor mean.")
        self.share = 1.0 if fusion == "sum" else 1 / len(modalities)
        widths = block_widths(backbone)
        weights = "vgg16" if pretrained else None
        self.encoders: Any = nn.ModuleDict()
        for m, channels in modalities.items():
            self.encoders[m] = make_encoder([channels], widths, order, weights, pretrained_path)
        self.dropout = nn.Dropout(dropout)
        self.decoder = Decoder(widths, num_classes, order, dropout)
        draw_convolutions(self.decoder)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight, 1.0, 0.02)

    def encoding_modules(self) -> list[nn.Module]:
        """The auxiliary encoders; sums lie between the blocks of the main one."""
        return [block for encoder in self.encoders.values() for block in encoder.blocks]

    def run_alone(self, modality: str, image: Tensor) -> list[Tensor]:
        """Five maps of an auxiliary modality; of the main one the first, before the sum."""
        blocks = self.encoders[modality].blocks
        maps = [blocks[0](image)]
        if modality == self.main:
            return maps
        for level, block in enumerate(blocks[1:]):
            pooled = F.max_pool2d(maps[-1], 2)
            maps.append(block(self.dropout(pooled) if level >= 2 else pooled))
        return maps

    def fuse_streams(self, main: list[Tensor], others: list[list[Tensor]]) -> Fused:
        """Predict logits (B, K, H, W); no extras."""
        state, places = main[0], []
        for level, block in enumerate(self.encoders[self.main].blocks):
            if level:
                state = block(state)
            for stream in others:
                state = state + stream[level]
            state, place = pool_with_places(self.share * state)
            places.append(place)
            if level >= 2:
                state = self.dropout(state)
        return self.decoder(state, places), {}
