"""MAGIC as a Lightning module: levels, losses and recipe (ECCV 2024; recipe of the authors' DELIVER code)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from methods.base import AnyModalitySegmenter, named_maps
from methods.magic.aggregation import mean_of_present
from methods.magic.losses import (
    correlation_consistency,
    filtered_targets,
    map_consistency,
    rest_to_salient,
)
from methods.magic.network import Branches, MAGICNetwork
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, draw_subsets
from methods.parts.optim import Recipe
from usererror import UserError


class MAGIC(AnyModalitySegmenter):
    """MAGIC on the head's logits (`level: logits`) or on the encoder's features (`level: features`).

    Loss terms: `main` (L_M), `selection` (L_S, weight lambda), `consistency` (L_C, weight beta; 0 for fewer than four
    modalities unless `rest_to_sa`). The paper's lambda and beta are unknown; both are 1 here.

    Args:
        modalities: name -> channels, in the dataset's order.
        num_classes: K.
        ignore_index: label value without loss.
        seed: see the base class.
        loss_weights: see the base class.
        optimizer: see the base class.
        backbone: `pvt_v2_b2`, `resnet50`, `pvt_v2_b0` (small scale) or another timm pyramid.
        pretrained: ImageNet weights.
        pretrained_path: local weight file.
        reduction: `auto`, null or four widths: 1x1 convolutions after the encoder.
        level: where the aggregation acts, `logits` or `features`.
        mam_kernel: depthwise kernel of the gate.
        mam_pools: average pools of the gate.
        phi_hidden: width of the scalar MLPs.
        phi_init: every phi starts near the `identity`, or as `pytorch` starts its layers.
        consistency: L_C from the `correlation` with the salient map, or as a divergence of the rest `maps` (logits).
        rest_to_sa: where one modality is left over, pull its map towards the salient one (logits).
        subsets: which modalities a training step sees; `full` is the paper's.
        subsets_per: a draw per sample or per batch.
        head_width: width of the all-MLP head.
        head_norm: `bn`, `syncbn` or `ln`.
        head_dropout: Dropout2d in the head.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {
        "main": 1.0,
        "selection": 1.0,
        "consistency": 1.0,
    }

    def __init__(
        self,
        modalities: dict[str, int],
        num_classes: int,
        ignore_index: int = 255,
        seed: int = 0,
        loss_weights: dict[str, float] | None = None,
        optimizer: Recipe = Recipe(),  # noqa: B008 - frozen, hence safe to share
        backbone: str = "pvt_v2_b2",
        pretrained: bool = True,
        pretrained_path: str | None = None,
        reduction: Literal["auto"] | list[int] | None = "auto",
        level: Literal["logits", "features"] = "logits",
        mam_kernel: int = 7,
        mam_pools: tuple[int, ...] = (3, 7, 11),
        phi_hidden: int = 8,
        phi_init: Literal["identity", "pytorch"] = "identity",
        consistency: Literal["correlation", "maps"] = "correlation",
        rest_to_sa: bool = False,
        subsets: SubsetRule = "full",
        subsets_per: Literal["sample", "batch"] = "sample",
        head_width: int = 256,
        head_norm: Literal["bn", "syncbn", "ln"] = "bn",
        head_dropout: float = 0.1,
    ) -> None:
        super().__init__(modalities, num_classes, ignore_index, seed, loss_weights, optimizer)
        if consistency not in ("correlation", "maps"):
            raise UserError(f"consistency {consistency!r} is neither correlation nor maps.")
        if level == "features" and (consistency == "maps" or rest_to_sa):
            raise UserError(
                "Features are no class distributions: consistency: maps and rest_to_sa need level: logits."
            )
        self.consistency, self.rest_to_sa = consistency, rest_to_sa
        self.subsets, self.subsets_per = subsets, subsets_per
        self.network = MAGICNetwork(
            list(self.modalities),
            num_classes,
            backbone=backbone,
            pretrained=pretrained,
            pretrained_path=pretrained_path,
            reduction=reduction,
            level=level,
            mam_kernel=mam_kernel,
            mam_pools=mam_pools,
            phi_hidden=phi_hidden,
            phi_init=phi_init,
            head_width=head_width,
            head_norm=head_norm,
            head_dropout=head_dropout,
        )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """L_M, and L_S and L_C where the batch has more than one modality."""
        present = draw_subsets(self.subsets, self.available(batch), self.subsets_per)
        step = self.network.forward_train(batch["image"], present)
        terms = {"main": cross_entropy(step.main, batch["mask"], self.ignore_index)}
        if step.selected is None or step.selection is None:
            return terms
        targets = filtered_targets(step.main, batch["mask"], self.ignore_index)
        # a sample with one modality has nothing to select
        targets = torch.where(step.selection.pair[:, None, None], targets, self.ignore_index)
        terms["selection"] = cross_entropy(step.selected, targets, self.ignore_index)
        terms["consistency"] = self._consistency(step)
        return terms

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """See the base class: the votes, at stride 4 (of features, what the head makes of them), and their mean."""
        encoded = self.encode(batch["image"])
        single = {
            m: one.votes if one.linear is None else [one.linear] for m, one in encoded.items()
        }
        fused = [mean_of_present(maps, None) for maps in zip(*single.values(), strict=True)]
        return named_maps(fused, single)

    def _consistency(self, step: Branches) -> Tensor:
        """L_C, the mean over the scales; 0 without a graph for fewer than four modalities unless `rest_to_sa`."""
        rest = step.selection.rest
        if len(rest) > 3 and self.consistency == "maps":
            value = map_consistency(step.maps[0], rest)
        elif len(rest) > 3:
            scales = zip(step.maps, step.salient, strict=True)
            value = torch.stack(
                [correlation_consistency(maps, salient, rest) for maps, salient in scales]
            ).mean()
        else:
            value = step.main.new_zeros((), dtype=torch.float32)
        return (
            value + rest_to_salient(step.maps[0], step.salient[0], rest)
            if self.rest_to_sa
            else value
        )
