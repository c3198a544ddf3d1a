"""mmFormer as a Lightning module: variants, masking, losses and recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from methods.base import AnyModalitySegmenter, named_maps
from methods.mmformer.network import Layout, MMFormerNetwork
from methods.parts.conv_unet import NormKind
from methods.parts.dice import class_probabilities, segmentation_loss
from methods.parts.modality_dropout import SubsetRule, SubsetScope, draw_subsets
from methods.parts.optim import Recipe, warmup_poly, warmup_steps


class MMFormer(AnyModalitySegmenter):
    """mmFormer, its second public release in two dimensions.

    Variants: `mmformer` (tokens of width 512, feed-forward 4096) and `mmformer_light` (256 and 512, the transformers of
    GEMMNet).

    Loss terms, each with the weight 1, each a sum of Dice plus weighted cross-entropy (dossier I.4): `fused`, of the
    prediction; `scales`, over the four coarser outputs of the decoder; `unimodal`, over the modalities, each decoded by
    itself, whether or not the step masks it.

    Args:
        modalities: name -> channels, in the dataset's order.
        num_classes: K.
        ignore_index: label value without loss.
        seed: see the base class.
        loss_weights: see the base class.
        optimizer: see the base class.
        width: D of the tokens.
        mlp: hidden width of the transformers.
        heads: of their attention.
        dropout: of the transformers.
        grid: side of the position tables, a sixteenth of the training window.
        norm: `instance` or `layer`.
        subsets: what a training step shows; released: every non-empty subset alike.
        subsets_per: a draw per sample or one per batch.
        as_released: set what is null below as the authors' code has it.
        layout: `modality_major` or `sequential`; null: the first, as released the second.
        amsgrad: Adam with AMSGrad and coupled weight decay instead of AdamW; null: only as released.

    Raises:
        UserError: an option that does not exist.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {
        "fused": 1.0,
        "scales": 1.0,
        "unimodal": 1.0,
    }

    def __init__(
        self,
        modalities: dict[str, int],
        num_classes: int,
        ignore_index: int = 255,
        seed: int = 0,
        loss_weights: dict[str, float] | None = None,
        optimizer: Recipe = Recipe(),  # noqa: B008 - frozen, hence safe to share
        width: int = 512,
        mlp: int = 4096,
        heads: int = 8,
        dropout: float = 0.1,
        grid: int = 32,
        norm: NormKind = "instance",
        subsets: SubsetRule = "any_subset",
        subsets_per: SubsetScope = "sample",
        as_released: bool = False,
        layout: Layout | None = None,
        amsgrad: bool | None = None,
    ) -> None:
        super().__init__(modalities, num_classes, ignore_index, seed, loss_weights, optimizer)
        self.subsets, self.subsets_per = subsets, subsets_per
        self.amsgrad = as_released if amsgrad is None else amsgrad
        self.network = MMFormerNetwork(
            self.modalities,
            num_classes,
            width=width,
            mlp=mlp,
            heads=heads,
            dropout=dropout,
            grid=grid,
            norm=norm,
            layout=layout or ("sequential" if as_released else "modality_major"),
        )

    def shown(self, available: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the fused path of a training step gets of it, {modality: bool B}: a draw."""
        return draw_subsets(self.subsets, available, self.subsets_per)

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Losses of the fused output, of the four scales and of every modality by itself, for drawn subsets."""
        mask, available = batch["mask"], self.available(batch)
        present = self.shown(available)
        encoded = self.network.encode(batch["image"])
        logits, extras = self.network.fuse(encoded, present)
        padded = (logits.shape[-2], logits.shape[-1])

        def loss(output: Tensor, labels: Tensor) -> Tensor:
            return segmentation_loss(
                class_probabilities(output, padded, mask.shape[-2:]), labels, self.ignore_index
            )

        unimodal = []
        for m, output in self.network.unimodal(encoded).items():
            # a sample that really lacks the modality has no image to learn from
            unimodal.append(
                loss(output, torch.where(available[m][:, None, None], mask, self.ignore_index))
            )
        scales = [loss(output, mask) for output in extras["scales"]]
        return {"fused": loss(logits, mask), "scales": sum(scales), "unimodal": sum(unimodal)}

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """See the base class: the outputs of the five fusion blocks."""
        return named_maps(self.network.fused(self.encode(batch["image"])), {})

    def configure_optimizers(self) -> Any:
        """The shared recipe; with `amsgrad` the released optimiser under the same schedule."""
        if not self.amsgrad:
            return super().configure_optimizers()
        recipe = self.recipe
        total, per_epoch = self.schedule_length()
        optimizer = Adam(
            self.parameters(),
            recipe.lr,
            recipe.betas,
            recipe.eps,
            weight_decay=recipe.weight_decay,
            amsgrad=True,
        )
        warmup = warmup_steps(recipe, total, per_epoch)

        def factor(step: int) -> float:
            return warmup_poly(step, total, warmup, recipe.warmup_start, recipe.poly_power)

        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"},
        }
