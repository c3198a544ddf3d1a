"""mmFormer as a Lightning module: variants, masking, losses and recipe."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Adam

from methods.base import AnyModalitySegmenter
from methods.mmformer.network import MMFormerNetwork
from methods.parts.diagnostics import name_feature_maps
from methods.parts.losses import class_probabilities, segmentation_loss
from methods.parts.modality_dropout import SubsetRule, SubsetScope
from methods.parts.optim import warmup_schedule
from methods.parts.tokens import Layout


class MMFormer(AnyModalitySegmenter):
    """mmFormer, its second public release in two dimensions.

    Variants: `mmformer` (tokens of width 512, feed-forward 4096) and `mmformer_light` (256 and 512,
    the transformers of GEMMNet).

    Loss terms, each with the weight 1, each a sum of Dice plus weighted cross-entropy (dossier
    I.4): `fused`, of the prediction; `scales`, over the four coarser outputs of the decoder;
    `unimodal`, over the modalities, each decoded by itself, whether or not the step masks it.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {
        "fused": 1.0,
        "scales": 1.0,
        "unimodal": 1.0,
    }

    def build_network(
        self,
        subsets: SubsetRule = "any_subset",
        subsets_per: SubsetScope = "sample",
        as_released: bool = False,
        layout: Layout | None = None,
        amsgrad: bool | None = None,
        **network: Any,
    ) -> None:
        """Build the network.

        Args:
            subsets: what a training step shows; released: every non-empty subset alike.
            as_released: set what is null below as the authors' code has it.
            layout: null is `modality_major`, as released `sequential`.
            amsgrad: Adam with AMSGrad and coupled weight decay instead of AdamW; null: as released.
        """
        self.subsets, self.subsets_per = subsets, subsets_per
        self.amsgrad = as_released if amsgrad is None else amsgrad
        layout = layout or ("sequential" if as_released else "modality_major")
        self.network = MMFormerNetwork(self.modalities, self.num_classes, layout=layout, **network)

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute the losses of the fused output, the four scales and every modality by itself."""
        mask, available = batch["mask"], self.available(batch)
        present = self.draw_shown(batch)
        encoded = self.network.encode(batch["image"])
        logits, extras = self.network.fuse(encoded, present)
        padded = (logits.shape[-2], logits.shape[-1])

        def output_loss(output: Tensor, labels: Tensor) -> Tensor:
            probabilities = class_probabilities(output, padded, mask.shape[-2:])
            return segmentation_loss(probabilities, labels, self.ignore_index)

        unimodal = []
        for m, output in self.network.decode_unimodal(encoded).items():
            # a sample that really lacks the modality has no image to learn from
            labels = torch.where(available[m][:, None, None], mask, self.ignore_index)
            unimodal.append(output_loss(output, labels))
        # deep supervision: strides 16, 8, 4, 2 (dossier I.4)
        scales: Any = sum(output_loss(output, mask) for output in extras["scales"])
        alone: Any = sum(unimodal)
        return {"fused": output_loss(logits, mask), "scales": scales, "unimodal": alone}

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """See the base class: the outputs of the five fusion blocks."""
        return name_feature_maps(self.network.fused_maps(self.encode(batch["image"])), {})

    def configure_optimizers(self) -> Any:
        """The shared recipe; with `amsgrad` the released optimiser under the same schedule."""
        if not self.amsgrad:
            return super().configure_optimizers()
        recipe = self.recipe
        own = (recipe.lr, recipe.betas, recipe.eps, recipe.weight_decay)
        optimizer = Adam(self.parameters(), *own, amsgrad=True)
        schedule = warmup_schedule(optimizer, recipe, *self.schedule_length())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
