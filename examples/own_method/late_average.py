"""A method outside the repository: a small network per sensor, and the average of their logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from methods.base import AnyModalitySegmenter
from methods.parts.losses import cross_entropy
from methods.parts.precision import at_least_float32


class LateAverage(AnyModalitySegmenter):
    """Every sensor votes; what is missing has no vote.

    Example:
        >>> module = LateAverage({"rgb": 3, "nir": 1}, num_classes=5, width=8)
        >>> module({"nir": torch.zeros(2, 1, 40, 60)}).shape
        torch.Size([2, 5, 40, 60])
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0}

    def build_network(self, width: int = 32) -> None:
        """Build a network per modality.

        Args:
            width: channels inside each.
        """
        self.networks = nn.ModuleDict()
        for name, channels in self.modalities.items():
            self.networks[name] = nn.Sequential(
                nn.Conv2d(channels, width, 7, stride=4, padding=3),
                nn.ReLU(),
                nn.Conv2d(width, width, 5, padding=2),
                nn.ReLU(),
                nn.Conv2d(width, self.num_classes, 1),
            )

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{modality: (B, C, H, W)} -> {modality: logits (B, K, H/4, W/4)}."""
        return {name: self.networks[name](image) for name, image in images.items()}

    def decode(self, encoded: Mapping[str, Tensor], size: Sequence[int]) -> Tensor:
        """Logits (B, K, H, W) of any non-empty subset of what `encode` returned."""
        # two logits that half precision rounds to one number are no tie
        mean = at_least_float32(torch.stack(list(encoded.values()))).mean(0)
        return interpolate(mean, tuple(size), mode="bilinear")

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Cross-entropy of each network on its own, so that none relies on the others."""
        mask, available, terms = batch["mask"], self.available(batch), []
        for name, logits in self.encode(batch["image"]).items():
            full_size = self.decode({name: logits}, mask.shape[-2:])
            # a sample without this sensor has no image to learn from
            labels = mask.masked_fill(~available[name][:, None, None], self.ignore_index)
            terms.append(cross_entropy(full_size, labels, self.ignore_index))
        return {"seg": torch.stack(terms).mean()}
