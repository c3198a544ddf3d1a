"""MAGIC as a Lightning module: levels, losses and recipe (of the authors' DELIVER code)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.magic.aggregation import mean_of_present
from methods.magic.losses import (
    correlation_consistency,
    filtered_targets,
    map_consistency,
    rest_to_salient,
)
from methods.magic.network import Branches, Level, MAGICNetwork
from methods.parts.diagnostics import name_feature_maps
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope
from usererror import UserError


class MAGIC(AnyModalitySegmenter):
    """Aggregate modalities and select the salient ones, on logits or on features (`level`).

    Loss terms: `main` (L_M), `selection` (L_S, weight lambda), `consistency` (L_C, weight beta; 0
    for fewer than four modalities unless `rest_to_sa`). The paper's lambda and beta are unknown;
    both are 1 here.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {
        "main": 1.0,
        "selection": 1.0,
        "consistency": 1.0,
    }

    def build_network(
        self,
        pretrained: bool = True,
        level: Level = "logits",
        consistency: Literal["correlation", "maps"] = "correlation",
        rest_to_sa: bool = False,
        subsets: SubsetRule = "full",
        subsets_per: SubsetScope = "sample",
        **network: Any,
    ) -> None:
        """Build the network.

        Args:
            level: where the aggregation acts, on the head's `logits` or the encoder's `features`.
            consistency: L_C from the `correlation` with the salient map, or as a divergence of
                the rest `maps` (logits).
            rest_to_sa: where one modality is left over, pull its map towards the salient one
                (logits).
            subsets: which modalities a training step sees; `full` is the paper's.
        """
        if consistency not in ("correlation", "maps"):
            raise UserError(f"consistency {consistency!r} is neither correlation nor maps.")
        if level == "features" and (consistency == "maps" or rest_to_sa):
            raise UserError(
                "Features are no class distributions: consistency: maps and rest_to_sa need "
                "level: logits."
            )
        self.consistency, self.rest_to_sa = consistency, rest_to_sa
        self.subsets, self.subsets_per = subsets, subsets_per
        self.network = MAGICNetwork(
            self.modalities, self.num_classes, level=level, pretrained=pretrained, **network
        )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """L_M, and L_S and L_C where the batch has more than one modality."""
        step = self.network.forward_train(batch["image"], self.draw_shown(batch))
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
        """Show the votes (of features, what the head makes of them) and their mean."""
        encoded = self.encode(batch["image"])
        single = {
            m: one.votes if one.linear is None else [one.linear] for m, one in encoded.items()
        }
        fused = [mean_of_present(maps, None) for maps in zip(*single.values(), strict=True)]
        return name_feature_maps(fused, single)

    def _consistency(self, step: Branches) -> Tensor:
        """Average L_C over the scales; 0 for fewer than four modalities unless `rest_to_sa`."""
        rest = step.selection.rest
        if len(rest) <= 3:
            # one of three modalities is left over at most: there is no pair to compare
            value = step.main.new_zeros((), dtype=torch.float32)
        elif self.consistency == "maps":
            value = map_consistency(step.maps[0], rest)
        else:
            scales = zip(step.maps, step.salient, strict=True)
            values = [correlation_consistency(maps, salient, rest) for maps, salient in scales]
            value = torch.stack(values).mean()
        if self.rest_to_sa:
            value = value + rest_to_salient(step.maps[0], step.salient[0], rest)
        return value
