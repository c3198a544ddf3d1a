"""M3L as a Lightning module: variants, masking rule, losses and recipe."""

from collections.abc import Mapping
from math import log
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import AnyModalitySegmenter
from methods.m3l.network import BlockM3L, StageM3L
from methods.parts.diagnostics import name_feature_maps
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope
from methods.parts.precision import at_least_float32
from usererror import UserError

CONFIDENT = 0.7
HARD_SHARE = 0.08


def hard_pixel_cross_entropy(logits: Tensor, mask: Tensor, ignore_index: int = 255) -> Tensor:
    """Mean cross-entropy over hard pixels (OHEM, as in the released code; dossier 2.4).

    Hard is a pixel whose true class has a probability of at most 0.7, or one of the hardest 8 % of
    the batch's pixels. Exactly 0, with a graph to the logits (B, K, H, W), when none is valid.
    """
    rows = at_least_float32(logits).permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
    losses = F.cross_entropy(rows, mask.reshape(-1), ignore_index=ignore_index, reduction="none")
    valid = mask.reshape(-1) != ignore_index
    # -1 is below every loss: with few valid pixels the bound falls to it, and all of them count
    ranked = losses.detach().masked_fill(~valid, -1.0)
    least_hard = ranked.topk(max(1, int(HARD_SHARE * len(ranked)))).values[-1]
    kept = valid & (ranked >= least_hard.clamp(max=-log(CONFIDENT)))
    return torch.where(kept, losses, 0.0).sum() / kept.sum().clamp(min=1)


_CRITERIA = {"ce": cross_entropy, "ohem": hard_pixel_cross_entropy}


class M3L(AnyModalitySegmenter):
    """M3L, supervised (the released code's path without a teacher).

    Variants: `m3l` (fusion per scale, the authors' masking rule), `m3l_any_subset` (any non-empty
    subset is shown), `m3l_block` (fusion in every block).

    Loss terms, each with the weight 1: `streams`, the sum of the M streams' cross-entropies over M
    + 1, and `ensemble`, that of their mean over M + 1.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"streams": 1.0, "ensemble": 1.0}
    revision = 2  # the encoder got the authors' stochastic depth

    def build_network(
        self,
        pretrained: bool = True,
        fusion: Literal["stage", "block"] = "stage",
        subsets: SubsetRule = "one_missing",
        subsets_per: SubsetScope = "sample",
        criterion: Literal["ce", "ohem"] = "ce",
        **network: Any,
    ) -> None:
        """Build the network.

        Args:
            fusion: once per `stage`, or in every `block` of the encoder.
            subsets: what a training step shows; `one_missing` masks at most one modality.
        """
        if criterion not in _CRITERIA:
            raise UserError(f"M3L's criterion {criterion!r} is neither ce nor ohem.")
        self.subsets, self.subsets_per = subsets, subsets_per
        self.criterion = _CRITERIA[criterion]
        if fusion == "stage":
            self.network = StageM3L(
                self.modalities, self.num_classes, pretrained=pretrained, **network
            )
        elif fusion == "block":
            self.network = BlockM3L(
                self.modalities, self.num_classes, pretrained=pretrained, **network
            )
        else:
            raise UserError(f"M3L's fusion {fusion!r} is neither stage nor block.")

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Average the cross-entropies of all streams, masked ones too, and of their ensemble."""
        images, present = batch["image"], self.draw_shown(batch)
        # masked images are not looked at, not even by batch statistics
        encoded = self.network.encode_present(images, present)
        ensemble, extras = self.network.fuse(encoded, present)
        size = batch["mask"].shape[-2:]
        count = len(self.modalities) + 1
        streams = [to_image_size(stream, size) for stream in extras["streams"]]
        total: Any = sum(self._loss(stream, batch["mask"]) for stream in streams)
        # detached, hence without gradient (dossier 2.4): it keeps the released loss's scale and
        # shows in the log how the ensemble fares
        detached = to_image_size(ensemble.detach(), size)
        return {"streams": total / count, "ensemble": self._loss(detached, batch["mask"]) / count}

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Show, with fusion by stage, what the head makes of a modality, at stride 4."""
        if not isinstance(self.network, StageM3L):
            return {}
        single = {m: [entry] for m, entry in self.encode(batch["image"]).items()}
        return name_feature_maps([], single)

    def _loss(self, logits: Tensor, mask: Tensor) -> Tensor:
        return self.criterion(logits, mask, self.ignore_index)
