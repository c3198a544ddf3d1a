"""SegNet (Badrinarayanan, Kendall, Cipolla, TPAMI 2017), as it is used for aerial images."""

from collections.abc import Sequence

from torch import Tensor, nn

from methods.vgg16.layers import Decoder, Order, block_widths, make_encoder, pool_with_places


class SegNet(nn.Module):
    """An encoder and its mirror, which share nothing but the places of the maxima.

    Args:
        channels: of the modalities that are one image.
        backbone: `vgg16`, or `vgg16_w16` with a quarter of its widths.
        pretrained: start the encoder from `vgg16_bn`.
        pretrained_path: local weight file instead of the cache.
        order: of norm and activation.
    """

    stride = 1

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        backbone: str = "vgg16",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        order: Order = "bn_relu",
    ) -> None:
        super().__init__()
        widths, weights = block_widths(backbone), "vgg16_bn" if pretrained else None
        self.encoder = make_encoder(channels, widths, order, weights, pretrained_path)
        finest = self.encoder.blocks[0]
        self.first = nn.ModuleList([finest[0]])
        finest[0] = nn.Identity()
        self.decoder = Decoder(widths, num_classes, order)

    def forward(self, responses: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """What `first` returns, [(B, E, H, W)] -> logits (B, K, H, W), no auxiliary ones."""
        state, places = responses[0], []
        for block in self.encoder.blocks:
            state, place = pool_with_places(block(state))
            places.append(place)
        return self.decoder(state, places), []
