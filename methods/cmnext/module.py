"""CMNeXt as a Lightning module: cross-entropy on full sets, or on random subsets."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.cmnext.network import CMNeXtNetwork
from methods.parts.diagnostics import name_feature_maps
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope


class CMNeXt(AnyModalitySegmenter):
    """A primary modality, and one branch for all others.

    `cmnext` sees full sets in training as published, `cmnext_dropout` any subset.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0}

    def build_network(
        self,
        pretrained: bool = True,
        subsets: SubsetRule = "full",
        subsets_per: SubsetScope = "sample",
        **network: Any,
    ) -> None:
        """Build the network."""
        self.subsets, self.subsets_per = subsets, subsets_per
        self.network = CMNeXtNetwork(
            self.modalities, self.num_classes, pretrained=pretrained, **network
        )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute the cross-entropy on the drawn subset of what each sample has."""
        mask = batch["mask"]
        logits, _ = self.network.fuse_shown(batch["image"], self.draw_shown(batch))
        logits = to_image_size(logits, mask.shape[-2:])
        return {"seg": cross_entropy(logits, mask, self.ignore_index)}

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Show the fused maps."""
        return name_feature_maps(self.network.fuse(self.encode(batch["image"]))[1]["features"], {})
