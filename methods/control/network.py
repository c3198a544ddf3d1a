"""The plainest network that takes any subset: shared encoder, mean of what is there, one head.

No paper; SegFormer's encoder-decoder (Xie et al. 2021) with an average between the two.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from methods.parts.network import Fused, Present, SharedEncoderNetwork


class ControlNetwork(SharedEncoderNetwork):
    """Average the available maps at each scale; nothing knows the sensors apart."""

    def __init__(self, modalities: Iterable[str], num_classes: int, **options: Any) -> None:
        super().__init__(modalities, **options)
        self.encoder = self.make_encoder()
        self.head = self.make_head(num_classes)

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
        """Encode {modality: (B, C, H, W)} as {modality: four maps (B, C_i, H_i, W_i)}."""
        return self.encoder({m: images[m] for m in self.ordered_names(images)})

    def fuse(self, encoded: Mapping[str, list[Tensor]], present: Present | None = None) -> Fused:
        """Predict logits (B, K, H/4, W/4), padded; the extras hold `features`, the four means."""
        names = self.ordered_names(encoded)
        first = encoded[names[0]][0]
        masks = self.stack_present(names, present)
        if masks is None:
            masks = torch.ones(len(names), len(first), dtype=torch.bool, device=first.device)
        # (M, B, 1, 1, 1); a mean, not a sum, keeps the features' size whatever M is
        shares = (masks / masks.sum(0)).to(first.dtype)[:, :, None, None, None]
        means = []
        for maps in zip(*(encoded[m] for m in names), strict=True):
            means.append(sum(share * each for share, each in zip(shares, maps, strict=True)))
        return self.head(means), {"features": means}
