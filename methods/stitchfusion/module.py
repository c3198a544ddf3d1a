"""StitchFusion as a Lightning module: cross-entropy on full sets, or on random subsets."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.parts.diagnostics import name_feature_maps
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope
from methods.stitchfusion.network import PlainStreams, StitchedStreams
from usererror import UserError

Adapters = Literal["sequential", "parallel", "none"]


class StitchFusion(AnyModalitySegmenter):
    """Streams through one encoder that adapters stitch together, and MMSFormer's fusion.

    `stitchfusion` sees full sets in training as published, `stitchfusion_dropout` any subset;
    `stitchfusion_no_adapters` is the fusion alone.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0}

    def build_network(
        self,
        pretrained: bool = True,
        adapters: Adapters = "sequential",
        subsets: SubsetRule = "full",
        subsets_per: SubsetScope = "sample",
        **network: Any,
    ) -> None:
        """Build the network.

        Args:
            adapters: they act stream after stream as released (`sequential`), or all at once
                (`parallel`), or there are none.
        """
        self.subsets, self.subsets_per = subsets, subsets_per
        if adapters not in get_args(Adapters):
            raise UserError(f"StitchFusion's adapters are none of {get_args(Adapters)}.")
        if adapters != "none":
            self.network = StitchedStreams(
                self.modalities,
                self.num_classes,
                parallel=adapters == "parallel",
                pretrained=pretrained,
                **network,
            )
        else:
            self.network = PlainStreams(
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
