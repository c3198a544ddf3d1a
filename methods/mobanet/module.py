"""MoBaNet as a Lightning module: variants, MCRM, losses and recipe."""

from collections.abc import Mapping
from math import ceil, cos, pi
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from methods.base import AnyModalitySegmenter
from methods.frozen_vit import frozen_names
from methods.mobanet.masking import hard_pixels, mask_regions
from methods.mobanet.network import MoBaNetNetwork
from methods.parts.diagnostics import name_feature_maps
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope
from methods.parts.optim import parameter_groups
from usererror import UserError

WARMUP_EPOCHS, LAST_RATE = 5, 1e-6


def epoch_cosine(epoch: int, epochs: int, last: float) -> float:
    """Share of the peak rate in `epoch`: five epochs of warm-up, then a cosine from 1 to `last`.

    In a run of less than ten epochs the warm-up is half of it.
    """
    warmup = min(WARMUP_EPOCHS, epochs // 2)
    if epoch < warmup:
        return (epoch + 1) / warmup
    done = min(1.0, (epoch - warmup) / max(1, epochs - warmup))
    return last + (1 - last) * 0.5 * (1 + cos(pi * done))


class MoBaNet(AnyModalitySegmenter):
    """MoBaNet and the rows of its ablation.

    Variants: `mobanet_base` (streams averaged), `mobanet_cpia`, `mobanet_cpia_dgfm`, `mobanet`
    (with MCRM: all of it); `mobanet_no_mcrm` is the third one under the name it has where missing
    modalities are compared.

    Loss terms: `seg`, cross-entropy of the fused logits, and with MCRM `hard`, the sum of the
    auxiliary heads' cross-entropies over the pixels that the fused logits get wrong, with the
    published weight 0.01. A sample that lacks a modality does not train that modality's head.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0, "hard": 0.01}

    def build_network(
        self,
        pretrained: bool = True,
        mcrm: bool = True,
        mask_ratio: float = 0.25,
        as_released: bool = False,
        schedule: Literal["epoch_cosine", "poly"] = "epoch_cosine",
        subsets: SubsetRule = "full",
        subsets_per: SubsetScope = "sample",
        **network: Any,
    ) -> None:
        """Build the network; `seed` decides the frozen weights where they are random.

        Args:
            mcrm: masked rectangles and auxiliary heads in training.
            mask_ratio: share of the samples with a masked rectangle, rounded down.
            as_released: the sample that cannot be shared out evenly always loses a rectangle of
                the last modality, so that batches of 4 or 6 never mask the first one; by default
                chance decides.
            schedule: `epoch_cosine`, the published one, or `poly`, the benchmark's common one.
            subsets: what a training step shows; published is `full`.
        """
        if schedule not in ("epoch_cosine", "poly"):
            raise UserError(f"schedule {schedule!r} is neither epoch_cosine nor poly.")
        if not 0 <= mask_ratio <= 1:
            raise UserError(f"mask_ratio {mask_ratio} is a share of the samples, between 0 and 1.")
        self.mcrm, self.mask_ratio, self.as_released = mcrm, mask_ratio, as_released
        self.schedule, self.subsets, self.subsets_per = schedule, subsets, subsets_per
        self.network = MoBaNetNetwork(
            self.modalities,
            self.num_classes,
            pretrained=pretrained,
            seed=self.seed,
            heads=mcrm,
            **network,
        )
        self._ddp_params_and_buffers_to_ignore = frozen_names(self)

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Cross-entropy of the fused logits, and of the auxiliary heads where these are wrong."""
        mask = batch["mask"]
        if len(mask) < 2:
            raise UserError(
                "MoBaNet's decoder has batch statistics over one pixel; use batches of at least 2."
            )
        names = self.network.ordered_names(batch["image"])
        images = {m: self.network.pad_to_patch(batch["image"][m]) for m in names}
        present = self.draw_shown(batch)
        if self.mcrm:
            images = mask_regions(images, present, self.mask_ratio, self.as_released)
        size, stride = mask.shape[-2:], self.network.stride
        logits, extras = self.network.fuse(self.network.encode(images), present)
        logits = to_image_size(logits, size, stride)
        terms = {"seg": cross_entropy(logits, mask, self.ignore_index)}
        if self.mcrm:
            wrong = hard_pixels(logits, mask, self.ignore_index)
            nobody = torch.zeros(len(mask), dtype=torch.bool, device=mask.device)
            losses: Any = []
            for m, guess in extras["heads"].items():
                unseen = ~present.get(m, nobody)[:, None, None]
                labels = wrong.masked_fill(unseen, self.ignore_index)
                guess = to_image_size(guess, size, stride)
                losses.append(cross_entropy(guess, labels, self.ignore_index))
            terms["hard"] = sum(losses)
        return terms

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Show the fused features of the four stages, all of one size, and the masks of MCRM.

        The masks are those that a training step on this batch would draw: `masked/<modality>`, (B,
        H, W), is 1 inside the rectangle that is zeroed; `hard`, (B, H, W), where the fused
        prediction of what is left is wrong (eq. 26), which is what the auxiliary heads learn from.
        """
        shown = name_feature_maps(self.network.fused_maps(self.encode(batch["image"])), {})
        if not self.mcrm:
            return shown
        mask, available = batch["mask"], self.available(batch)
        height, width = mask.shape[-2:]
        images = {m: self.network.pad_to_patch(batch["image"][m]) for m in available}
        everything = {m: torch.ones_like(image[:, :1]) for m, image in images.items()}
        kept = mask_regions(everything, available, self.mask_ratio, self.as_released)
        masked = {m: image * kept[m] for m, image in images.items()}
        logits, _ = self.network.fuse(self.network.encode(masked), available)
        wrong = hard_pixels(
            to_image_size(logits, (height, width), self.network.stride), mask, self.ignore_index
        )
        shown |= {f"masked/{m}": 1 - left[:, 0, :height, :width] for m, left in kept.items()}
        return {**shown, "hard": (wrong != self.ignore_index).float()}

    def configure_optimizers(self) -> Any:
        """Set up AdamW with the published schedule per epoch, or the common one per step."""
        if self.schedule == "poly":
            return super().configure_optimizers()
        recipe, (steps, per_epoch) = self.recipe, self.schedule_length()
        groups = parameter_groups(self.parameters(), recipe.weight_decay, recipe.no_decay_1d)
        optimizer = AdamW(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)
        epochs, last = ceil(steps / per_epoch), LAST_RATE / recipe.lr
        scheduler = LambdaLR(optimizer, lambda epoch: epoch_cosine(epoch, epochs, last))
        per_epoch_schedule = {"scheduler": scheduler, "interval": "epoch"}
        return {"optimizer": optimizer, "lr_scheduler": per_epoch_schedule}
