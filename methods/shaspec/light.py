"""The light variant: mmFormer's thin encoders and decoder instead of ShaSpec's own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.parts.conv_unet import LEAST, STRIDE, FusedDecoder, PyramidEncoder
from methods.shaspec.full import Features
from methods.shaspec.layers import init_kaiming


class LightEncoder(nn.Module):
    """A `PyramidEncoder`; its last map is the output, and its mean the vector."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pyramid = PyramidEncoder(channels)
        init_kaiming(self)

    def forward(self, image: Tensor) -> Features:
        """Encode (B, c, H, W), sides multiples of 16: maps at strides 1 to 8, the output at 16."""
        *maps, output = self.pyramid(image)
        return Features(maps, output.mean((2, 3)), output)


class LightDecoder(nn.Module):
    """mmFormer's decoder, fed with the shared encoder's maps, without auxiliary heads."""

    stride = 1
    multiple, at_least = STRIDE, LEAST

    def __init__(self, modalities: int, num_classes: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.decoder = FusedDecoder(modalities, num_classes, auxiliary=False)
        init_kaiming(self)

    def skip_parts(self, index: int, maps: Sequence[Tensor]) -> list[Tensor]:
        """What modality number `index` adds to each fusion block, finest first."""
        blocks = self.decoder.fusion[:-1]
        pairs = zip(blocks, maps, strict=True)
        return [block.partial_sum(index, features) for block, features in pairs]

    def absent_skips(self, shared: nn.Module, image: Tensor) -> list[list[Tensor]]:
        """List what each modality adds when it is missing: nothing, as an image of zeros does."""
        # reflected borders keep a constant image's features constant, and the fusion block begins
        # with an instance norm, which makes zeros of them
        return [[image.new_zeros(())] * (len(self.decoder.fusion) - 1)] * self.modalities

    def forward(self, fused: Sequence[Tensor], skips: Sequence[Tensor]) -> Tensor:
        """As `SkipDecoder.forward`; logits (B, K, H, W)."""
        *blocks, last = self.decoder.fusion
        maps = [block.finish_fusion(skip) for block, skip in zip(blocks, skips, strict=True)]
        return self.decoder.decode([*maps, last(torch.cat(list(fused), 1))])[0]
