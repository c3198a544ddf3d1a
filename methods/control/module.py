"""The control as a Lightning module: cross-entropy on subsets drawn by a named rule."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.control.network import ControlNetwork
from methods.parts.diagnostics import name_feature_maps
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope


class Control(AnyModalitySegmenter):
    """Average the features of a shared encoder over the available modalities.

    `control` sees full sets in training (`subsets: full`), `control_dropout` any subset.

    Example:
        >>> import torch
        >>> options = {"backbone": "pvt_v2_b0", "pretrained": False}
        >>> model = Control({"rgb": 3, "dsm": 1}, num_classes=5, **options).eval()
        >>> model({"dsm": torch.randn(2, 1, 64, 64)}).shape
        torch.Size([2, 5, 64, 64])
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
        self.network = ControlNetwork(
            self.modalities, self.num_classes, pretrained=pretrained, **network
        )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute the cross-entropy on the drawn subset of what each sample has."""
        mask = batch["mask"]
        encoded = self.network.encode_present(batch["image"], self.available(batch))
        logits, _ = self.network.fuse(encoded, self.draw_shown(batch))
        logits = to_image_size(logits, mask.shape[-2:])
        return {"seg": cross_entropy(logits, mask, self.ignore_index)}

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Show the encoder's maps before and after their mean."""
        encoded = self.encode(batch["image"])
        return name_feature_maps(self.network.fuse(encoded)[1]["features"], encoded)
