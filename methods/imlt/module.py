"""IMLT, supervised, as a Lightning module: losses, modality draws and recipe."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.imlt.network import IMLTNetwork
from methods.parts.diagnostics import name_feature_maps
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope
from usererror import UserError


class IMLT(AnyModalitySegmenter):
    """Fuse modalities into learned tokens; "IMLT, supervised", without the pre-training stage.

    Loss terms: `seg`, cross-entropy of a random subset of each sample, and `con`, the contrastive
    term with the authors' weight 0.3 (absent for `contrast: none`).
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0, "con": 0.3}
    revision = 2  # feed-forward after the modality attention, norms and pooling as the authors'

    def build_network(
        self,
        pretrained: bool = True,
        subsets: SubsetRule = "size_uniform",
        subsets_per: SubsetScope = "sample",
        **network: Any,
    ) -> None:
        """Build the network.

        Args:
            pretrained: ImageNet weights (the authors' pre-training stage is not built).
            subsets: rule of the modality draw in training.
            subsets_per: one draw per sample, or one per batch (as released).
        """
        self.subsets, self.subsets_per = subsets, subsets_per
        self.network = IMLTNetwork(
            self.modalities, self.num_classes, pretrained=pretrained, **network
        )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute the cross-entropy of drawn subsets, and the contrastive term over them."""
        mask = batch["mask"]
        if self.network.contrast == "infonce" and len(mask) < 2:
            raise UserError(
                "contrast: infonce compares the samples of a batch; give it at least 4 of them."
            )
        encoded = self.network.encode_present(batch["image"], self.available(batch))
        present = self.draw_shown(batch)
        logits, extras = self.network.fuse(encoded, present)
        logits = to_image_size(logits, mask.shape[-2:])
        terms = {"seg": cross_entropy(logits, mask, self.ignore_index)}
        if self.network.pool is not None:
            terms["con"] = self.network.contrastive_loss(encoded, extras["features"][-1], present)
        return terms

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """See the base class: the fusion tokens X, and the modality streams F_m that they read."""
        encoded = self.encode(batch["image"])
        single = {m: [s.features for s in streams] for m, streams in encoded.items()}
        return name_feature_maps(self.network.fuse(encoded)[1]["features"], single)

    def configure_optimizers(self) -> Any:
        """Set up the shared recipe; tokens, vectors and queries are not decayed."""
        configured = super().configure_optimizers()
        if self.recipe.no_decay_1d:
            # tokens and queries have two dimensions, but are embeddings, not weights
            decayed, plain = configured["optimizer"].param_groups
            moved = {id(p) for p in self.network.undecayed_parameters()}
            plain["params"] += [p for p in decayed["params"] if id(p) in moved]
            decayed["params"] = [p for p in decayed["params"] if id(p) not in moved]
        return configured
