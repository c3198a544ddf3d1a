"""Early fusion as a Lightning module: cross-entropy on subsets drawn by a named rule."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.early_fusion.network import EarlyFusionNetwork
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope


class EarlyFusion(AnyModalitySegmenter):
    """Segment with one ordinary network on the channels of all modalities.

    `unet` sees full sets in training (`subsets: full`), `unet_dropout` any subset (`any_subset`).
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0}

    def build_network(
        self, subsets: SubsetRule = "full", subsets_per: SubsetScope = "sample", **network: Any
    ) -> None:
        """Build the network."""
        self.subsets, self.subsets_per = subsets, subsets_per
        self.network = EarlyFusionNetwork(self.modalities, self.num_classes, **network)

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute the cross-entropy on the drawn subset of what each sample has."""
        logits = self.network(batch["image"], self.draw_shown(batch))
        return {"seg": cross_entropy(logits, batch["mask"], self.ignore_index)}
