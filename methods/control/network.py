"""The plainest network that takes any subset of modalities: shared encoder, mean of what is there, one head.

No paper; SegFormer's encoder-decoder (Xie et al. 2021) with an average between the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from methods.parts.backbones import SharedEncoder
from methods.parts.heads import AllMLPHead
from methods.parts.network import AnyModalityNetwork


class ControlNetwork(AnyModalityNetwork):
    """Shared encoder, mean of the available maps at each scale, all-MLP head; nothing knows the sensors apart.

    Args:
        modalities: names, in the dataset's order.
        num_classes: K.
        backbone: timm model with maps at strides 4, 8, 16, 32.
        pretrained: ImageNet weights for the encoder.
        pretrained_path: weight file instead of the cache.
        reduction: widths of 1x1 convolutions after the encoder; `auto` only where it is wider than PVT.
        head_width: E of the all-MLP head.
        head_norm: `bn`, `syncbn` or `ln`.
        head_dropout: Dropout2d of the head.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        num_classes: int,
        backbone: str = "pvt_v2_b2",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        reduction: Sequence[int] | str | None = "auto",
        head_width: int = 256,
        head_norm: str = "bn",
        head_dropout: float = 0.1,
    ) -> None:
        super().__init__(modalities)
        self.encoder = SharedEncoder(backbone, pretrained, pretrained_path, reduction)
        self.head = AllMLPHead(
            self.encoder.channels, num_classes, head_width, head_norm, head_dropout
        )

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
        """{modality: B x C x H x W} -> {modality: [B x C_i x H_i x W_i] * 4}."""
        return self.encoder({m: images[m] for m in self.names(images)})

    def fuse(
        self, encoded: Mapping[str, Sequence[Tensor]], present: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Logits of a subset.

        Args:
            encoded: entries of `encode` for any non-empty subset.
            present: {modality: B bool}, which samples have it (finite values elsewhere are ignored), at least one for
                each sample; None = all.

        Returns:
            Logits B x K x H/4 x W/4 of the padded image, and extras: `features` (the four means).
        """
        names = self.names(encoded)
        first = encoded[names[0]][0]
        masks = torch.ones(len(names), len(first), dtype=torch.bool, device=first.device)
        if present is not None:
            masks = torch.stack([present[m] for m in names])
        shares = (masks / masks.sum(0)).to(first.dtype)[:, :, None, None, None]  # M x B x 1 x 1 x 1
        per_scale = zip(*(encoded[m] for m in names), strict=True)
        maps = [
            sum(share * feature for share, feature in zip(shares, maps, strict=True))
            for maps in per_scale
        ]
        return self.head(maps), {"features": maps}
