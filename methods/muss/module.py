"""MuSS as a Lightning module: variants and losses of MultiSenseSeg, the benchmark's recipe."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.muss.early_front_end import EarlyMuSSNetwork
from methods.muss.network import Missing, MuSSNetwork
from methods.parts.diagnostics import name_feature_maps
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope
from usererror import UserError


class MuSS(AnyModalitySegmenter):
    """Concatenate features (`muss`, `muss_dropout`) or fuse early (`muss_early`).

    Loss terms: `main` and, with `aux`, `aux`; the weight of `aux` falls linearly from its entry in
    `loss_weights` at the first step to `aux_last` at the end (MultiSenseSeg: 0.5 to 0.4).
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"main": 1.0, "aux": 0.5}

    @classmethod
    def revision_of(cls, arguments: Mapping[str, Any]) -> int:
        """Count the corrections of what a configuration uses."""
        # the experts' squeeze-excitation lost its biases
        has_experts = arguments.get("experts") or arguments.get("fusion") == "early"
        return 2 if has_experts else cls.revision

    def build_network(
        self,
        pretrained: bool = True,
        fusion: Literal["concat", "early"] = "concat",
        missing: Missing = "zero_feature",
        experts: bool = False,
        gate: bool = False,
        aux_last: float = 0.4,
        subsets: SubsetRule = "full",
        subsets_per: SubsetScope = "sample",
        **network: Any,
    ) -> None:
        """Build the network.

        Args:
            fusion: `concat` (features, the reading of SGMA's tables) or `early` (the authors'
                front end).
            missing: `zero_feature`, `zero_image` or `mean_feature`; early fusion has
                `zero_image` only.
            experts: feature-level experts before the concatenation.
            gate: the decode gate of early fusion.
            aux_last: weight of the auxiliary loss at the end of training.
            subsets: which subsets training draws; the authors have none but the full set.
        """
        self.aux_last = aux_last
        self.subsets, self.subsets_per = subsets, subsets_per
        if fusion == "early":
            if missing != "zero_image" or experts:
                raise UserError("fusion: early needs missing: zero_image, and has experts.")
            self.network = EarlyMuSSNetwork(
                self.modalities, self.num_classes, gate=gate, pretrained=pretrained, **network
            )
            return
        if gate:
            raise UserError("The decode gate takes guidance at full resolution: set fusion: early.")
        self.network = MuSSNetwork(
            self.modalities,
            self.num_classes,
            missing=missing,
            experts=experts,
            pretrained=pretrained,
            **network,
        )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Cross-entropy of the main and of the auxiliary logits."""
        have, shown = self.available(batch), self.draw_shown(batch)
        main, aux = self.network.forward_train(batch["image"], shown, have)
        terms = {"main": cross_entropy(main, batch["mask"], self.ignore_index)}
        if aux is not None:
            terms["aux"] = cross_entropy(aux, batch["mask"], self.ignore_index)
        return terms

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Show the fused maps and, with concatenation, each modality's part of them."""
        encoded = self.encode(batch["image"])
        single = {} if isinstance(self.network, EarlyMuSSNetwork) else encoded
        return name_feature_maps(self.network.fuse(encoded)[1]["features"], single)

    def aux_weight(self, progress: float) -> float:
        """a_t for the share of the training that is done."""
        first = self.loss_weights["aux"]
        return first + (self.aux_last - first) * progress

    def weighted_sum(self, terms: Mapping[str, Tensor]) -> Tensor:
        """L = main + a_t aux."""
        weights = {**self.loss_weights, "aux": self.aux_weight(self.progress)}
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()
