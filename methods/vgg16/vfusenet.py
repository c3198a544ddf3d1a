"""V-FuseNet: two real encoders and a virtual one between them, whose maps are the sum of all.

Audebert, Le Saux, Lefevre, ISPRS Journal 140 (2018), 20-32, as their Caffe definition has it. Ours:
more than two real encoders, any subset.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from methods.parts.network import Fused
from methods.streams import StreamNetwork
from methods.vgg16.layers import (
    Decoder,
    Encoder,
    Order,
    block_widths,
    draw_convolutions,
    make_encoder,
    pool_with_places,
)


class VFuseNetNetwork(StreamNetwork):
    """V-FuseNet.

    Args:
        backbone: `vgg16`, or `vgg16_w16` with a quarter of its widths.
        pretrained: start the real encoders from `vgg16_bn`; all else as He et al.
        pretrained_path: local weight file instead of the cache.
        order: of norm and activation.
    """

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        backbone: str = "vgg16",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        order: Order = "bn_relu",
    ) -> None:
        super().__init__(modalities)
        widths = block_widths(backbone)
        weights = "vgg16_bn" if pretrained else None
        self.virtual = Encoder(widths[0] * len(modalities), widths, order)
        self.decoder = Decoder(widths, num_classes, order)
        draw_convolutions(self)
        self.encoders = nn.ModuleDict()
        for m, channels in modalities.items():
            encoder = make_encoder([channels], widths, order, weights, pretrained_path)
            if not pretrained:
                draw_convolutions(encoder)
            self.encoders[m] = encoder

    def encoding_modules(self) -> list[nn.Module]:
        """See the base class."""
        return list(self.encoders.values())

    def run_alone(self, modality: str, image: Tensor) -> list[Tensor]:
        """Five maps of a real encoder."""
        return self.encoders[modality](image)

    def fuse_streams(self, main: list[Tensor], others: list[list[Tensor]]) -> Fused:
        """Predict logits (B, K, H, W); no extras."""
        streams = {self.main: main, **dict(zip(self.others, others, strict=True))}
        levels = list(zip(*(streams[m] for m in self.modalities), strict=True))
        state, places = torch.cat(levels[0], 1), []
        for block, maps in zip(self.virtual.blocks, levels, strict=True):
            total = block(state)
            for real in maps:
                total = total + real
            state, place = pool_with_places(total)
            places.append(place)
        return self.decoder(state, places), {}
