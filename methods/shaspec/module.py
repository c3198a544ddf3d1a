"""ShaSpec as a Lightning module: subsets, losses and recipe."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import SGD

from methods.base import AnyModalitySegmenter
from methods.parts.diagnostics import name_feature_maps
from methods.parts.heads import upsample_bilinear
from methods.parts.losses import segmentation_loss
from methods.parts.modality_dropout import (
    Masks,
    SubsetRule,
    SubsetScope,
    draw_subsets,
    on_host,
)
from methods.parts.network import blank_missing
from methods.parts.optim import warmup_schedule
from methods.parts.precision import at_least_float32
from methods.shaspec.losses import Pairs, alignment_loss, domain_classification
from methods.shaspec.network import Missing, ShaSpecNetwork
from usererror import UserError


def _detach_where(blank: Tensor, part: Tensor) -> Tensor:
    """Cut the gradient of (B, ...) at the samples that are `blank`, bool (B,)."""
    return torch.where(blank.view(-1, *[1] * (part.ndim - 1)), part.detach(), part)


class ShaSpec(AnyModalitySegmenter):
    """ShaSpec for segmentation.

    Loss terms: `seg`, Dice and weighted cross-entropy of a random subset; `dao`, the distance
    between the shared features of its modalities; `dco`, the cross-entropy of telling them apart by
    their specific features (paper eq. 9).
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0, "dao": 0.1, "dco": 0.02}

    def build_network(
        self,
        missing: Missing = "mean",
        pooling_norm: bool = False,
        pairs: Pairs = "all",
        blank_terms: bool = False,
        as_released: bool = False,
        subsets: SubsetRule = "any_subset",
        subsets_per: SubsetScope = "batch",
        warmup_share: float = 0.0,
        momentum: float | None = None,
        **network: Any,
    ) -> None:
        """Build the network.

        Args:
            missing: `mean` of the available shared features, or that of the `first` modality.
            pooling_norm: keep the norm that empties the ASPP's image-pooling view.
            pairs: in `dao` the mean over `all`, or the sum over the `ring` of neighbours.
            blank_terms: `dao` and `dco` count missing modalities too, by the features of images
                of zeros, taken as constants (see `SkipDecoder.absent_skips`).
            as_released: the released form of the four options above, whatever they say: `first`,
                true, `ring`, true.
            subsets: what a training step shows.
            warmup_share: share of the training, from its start, in which all modalities are
                shown (released: 80 / 180).
            momentum: SGD with this Nesterov momentum instead of AdamW (released: 0.99).
        """
        if as_released:
            missing, pooling_norm, pairs, blank_terms = "first", True, "ring", True
        if pairs not in ("all", "ring"):
            raise UserError(f"ShaSpec's pairs {pairs!r} are neither all nor ring.")
        self.pairs, self.blank_terms = pairs, blank_terms
        self.subsets, self.subsets_per = subsets, subsets_per
        self.warmup_share = warmup_share
        self.momentum = momentum
        self.network = ShaSpecNetwork(
            self.modalities, self.num_classes, missing=missing, pooling_norm=pooling_norm, **network
        )

    def decode(self, encoded: Mapping[str, Any], size: Sequence[int]) -> Tensor:
        """Predict logits (B, K, H, W) of images of `size` from any subset of `encode`'s result."""
        return self._to_size(self.network.fuse(encoded)[0], size)

    def _to_size(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Upsample logits to the padded image, and crop it; small images are padded by much."""
        height, width = (side * self.network.stride for side in logits.shape[-2:])
        padded = upsample_bilinear(at_least_float32(logits), (height, width))
        return padded[..., : size[0], : size[1]]

    def draw_shown(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Draw what a training step shows; everything during the warm-up."""
        rule = "full" if self.progress < self.warmup_share else self.subsets
        return draw_subsets(rule, self.available(batch), self.subsets_per)

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """The three terms of a drawn subset."""
        images, present, mask = batch["image"], self.draw_shown(batch), batch["mask"]
        if self.blank_terms:
            images = blank_missing(images, present, self.modalities)
            known = on_host(present)
            nowhere = torch.zeros_like(next(iter(known.values())))
            present = Masks({m: known.get(m, nowhere) for m in self.modalities}, mask.device)
        encoded = self.encode(images)
        logits = self._to_size(self.network.fuse(encoded, present)[0], mask.shape[-2:])
        flags = torch.stack([present[m] for m in encoded])
        shared, vectors = [], []
        for flag, entry in zip(flags, encoded.values(), strict=True):
            blank = ~flag if self.blank_terms else torch.zeros_like(flag)
            shared.append(_detach_where(blank, entry.shared))
            vectors.append(_detach_where(blank, entry.vector))
        if self.blank_terms:
            flags = torch.ones_like(flags)
        scores = [self.network.classifier(vector) for vector in vectors]
        indices = [self.network.modalities.index(m) for m in encoded]
        return {
            "seg": segmentation_loss(logits.softmax(1), mask, self.ignore_index),
            "dao": alignment_loss(shared, flags, self.pairs),
            "dco": domain_classification(scores, indices, flags),
        }

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Show f of each modality (eq. 2), at one scale; they are decoded side by side."""
        single = {m: [entry.fused] for m, entry in self.encode(batch["image"]).items()}
        return name_feature_maps([], single)

    def configure_optimizers(self) -> Any:
        """The shared recipe; with `momentum` SGD under the same schedule."""
        if self.momentum is None:
            return super().configure_optimizers()
        recipe = self.recipe
        optimizer = SGD(
            self.parameters(),
            recipe.lr,
            self.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=True,
        )
        schedule = warmup_schedule(optimizer, recipe, *self.schedule_length())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
