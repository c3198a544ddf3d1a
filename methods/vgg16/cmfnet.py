"""CMFNet: two VGG encoders, whose channels attend to each other at four scales.

Ma, Zhang, Pun, IEEE JSTARS 15 (2022), 3463-3474. Ours: more than two streams, any subset, any size.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from methods.parts.network import Fused
from methods.streams import StreamNetwork, check_several
from methods.vgg16.channel_transformer import ChannelTransformer, Patches
from methods.vgg16.layers import Decoder, Order, block_widths, make_encoder, pool_with_places
from usererror import UserError

SCALES = 4  # blocks whose maps attend


class ChannelGate(nn.Module):
    """Scale every channel by a sigmoid of the mean of all of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> the same."""
        return self.weigh(maps.mean((2, 3), keepdim=True)).sigmoid() * maps


class CMFNetNetwork(StreamNetwork):
    """CMFNet.

    Only the main stream's maps and tokens go on: others enter by the deepest block and by keys.

    Args:
        backbone: `vgg16`, or `vgg16_w16` with a quarter of its widths.
        pretrained_path: local weight file instead of the cache.
        order: of norm and activation; `relu_bn` as released.
        patch: side of a patch of the finest map in pixels, halved from scale to scale.
    """

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        backbone: str = "vgg16",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        order: Order = "bn_relu",
        patch: int = 16,
    ) -> None:
        super().__init__(modalities)
        check_several(modalities, "CMFNet")
        if patch not in (8, 16):
            # the coarsest of four is an eighth, and patches have to fit a padded image
            raise UserError(f"The finest patch has 8 or 16 pixels a side, not {patch}.")
        # of the patches, which stand first
        self.first_stride = patch
        widths, weights = block_widths(backbone), "vgg16_bn" if pretrained else None
        self.encoders, self.patches, self.gates = (nn.ModuleDict() for _ in range(3))
        for m, channels in modalities.items():
            self.encoders[m] = make_encoder([channels], widths, order, weights, pretrained_path)
            self.patches[m] = Patches(widths[:SCALES], patch)
            self.gates[m] = ChannelGate(widths[-1])
        self.cross = ChannelTransformer(len(modalities), widths[:SCALES], patch)
        self.own_patches = Patches(widths[:SCALES], patch)
        self.own = ChannelTransformer(1, widths[:SCALES], patch)
        self.decoder = Decoder(widths, num_classes, order)

    def encoding_modules(self) -> list[nn.Module]:
        """See the base class."""
        return [*self.encoders.values(), *self.patches.values(), *self.gates.values()]

    def run_alone(self, modality: str, image: Tensor) -> list[Tensor]:
        """Patches of four scales, the gated deepest map; behind them the main modality's maps."""
        *maps, deepest = self.encoders[modality](image)
        found = [*self.patches[modality](maps), self.gates[modality](deepest)]
        return [*found, *maps] if modality == self.main else found

    def fuse_streams(self, main: list[Tensor], others: list[list[Tensor]]) -> Fused:
        """Predict logits (B, K, H, W); no extras."""
        streams, maps = [main, *others], main[SCALES + 1 :]
        deepest: Any = torch.stack([stream[SCALES] for stream in streams]).sum(0)
        crossed = self.cross(maps, [stream[:SCALES] for stream in streams])
        attended = self.own(crossed, [self.own_patches(crossed)])
        pooled, place = pool_with_places(deepest)
        places = [*(pool_with_places(given)[1] for given in maps), place]
        skips = [given + more for given, more in zip(maps, attended, strict=True)]
        return self.decoder(pooled, places, [*skips, deepest]), {}
