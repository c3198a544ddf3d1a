"""Early fusion as a Lightning module: cross-entropy on subsets drawn by a named rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.early_fusion.network import EarlyFusionNetwork
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope, draw_subsets
from methods.parts.optim import Recipe


class EarlyFusion(AnyModalitySegmenter):
    """Segment with one ordinary network on the channels of all modalities.

    `unet` sees full sets in training (`subsets: full`), `unet_dropout` any subset (`any_subset`).

    Example:
        >>> import torch
        >>> model = EarlyFusion({"rgb": 3, "dsm": 1}, 5, backbone="resnet18").eval()
        >>> model({"dsm": torch.randn(2, 1, 64, 64)}).shape
        torch.Size([2, 5, 64, 64])

    Args:
        modalities: name -> channels, in the dataset's order.
        num_classes: K.
        ignore_index: label value without loss.
        seed: see the base class.
        loss_weights: see the base class.
        optimizer: see the base class.
        architecture: `unet` or another of segmentation-models-pytorch.
        backbone: one of its encoders (`resnet34`) or a timm model (`pvt_v2_b2`); random weights.
        subsets: which subsets training draws, see `methods.parts.modality_dropout`.
        subsets_per: one draw per sample or per batch.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0}

    def __init__(
        self,
        modalities: dict[str, int],
        num_classes: int,
        ignore_index: int = 255,
        seed: int = 0,
        loss_weights: dict[str, float] | None = None,
        optimizer: Recipe = Recipe(),  # noqa: B008 - frozen, hence safe to share
        architecture: str = "unet",
        backbone: str = "resnet34",
        subsets: SubsetRule = "full",
        subsets_per: SubsetScope = "sample",
    ) -> None:
        super().__init__(modalities, num_classes, ignore_index, seed, loss_weights, optimizer)
        self.subsets, self.subsets_per = subsets, subsets_per
        self.network = EarlyFusionNetwork(self.modalities, num_classes, architecture, backbone)

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Cross-entropy on the drawn subset of what each sample has."""
        present = draw_subsets(self.subsets, self.available(batch), self.subsets_per)
        logits = self.network(batch["image"], present)
        return {"seg": cross_entropy(logits, batch["mask"], self.ignore_index)}
