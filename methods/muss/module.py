"""MuSS as a Lightning module: variants, losses and recipe (MultiSenseSeg's losses, the benchmark's optimiser)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from methods.base import AnyModalitySegmenter, named_maps
from methods.muss.early_front_end import EarlyMuSSNetwork
from methods.muss.network import Missing, MuSSNetwork
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope, draw_subsets
from methods.parts.optim import Recipe
from usererror import UserError


class MuSS(AnyModalitySegmenter):
    """`muss` (`fusion: concat`), `muss_early` (`fusion: early`), `muss_dropout` (concat, `subsets: any_subset`).

    Loss terms: `main` and, with `aux`, `aux`; the weight of `aux` falls linearly from its entry in `loss_weights` at
    the first step to `aux_last` at the end (MultiSenseSeg: 0.5 to 0.4).

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
        fusion: `concat` (features, the reading of SGMA's tables) or `early` (the authors' front end).
        missing: `zero_feature`, `zero_image` or `mean_feature`; early fusion has `zero_image` only.
        experts: feature-level experts before the concatenation.
        trained_phases: the experts' constants as parameters.
        gate: the decode gate of early fusion.
        aux: auxiliary head in training.
        aux_last: weight of its loss at the end of training.
        subsets: which subsets training draws, see `methods.parts.modality_dropout`; the authors have none but the full set.
        subsets_per: one draw per sample or per batch.
        head_width: width of the all-MLP head.
        head_norm: `bn`, `syncbn` or `ln`.
        head_dropout: Dropout2d in the head.

    Raises:
        UserError: an option of one fusion is set for the other.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"main": 1.0, "aux": 0.5}

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
        fusion: Literal["concat", "early"] = "concat",
        missing: Missing = "zero_feature",
        experts: bool = False,
        trained_phases: bool = False,
        gate: bool = False,
        aux: bool = True,
        aux_last: float = 0.4,
        subsets: SubsetRule = "full",
        subsets_per: SubsetScope = "sample",
        head_width: int = 256,
        head_norm: Literal["bn", "syncbn", "ln"] = "bn",
        head_dropout: float = 0.1,
    ) -> None:
        super().__init__(modalities, num_classes, ignore_index, seed, loss_weights, optimizer)
        self.aux_last, self.progress = aux_last, 0.0
        self.subsets, self.subsets_per = subsets, subsets_per
        common: dict[str, Any] = {
            "backbone": backbone,
            "pretrained": pretrained,
            "pretrained_path": pretrained_path,
            "reduction": reduction,
            "trained_phases": trained_phases,
            "aux": aux,
            "head_width": head_width,
            "head_norm": head_norm,
            "head_dropout": head_dropout,
        }
        if fusion == "early":
            if missing != "zero_image" or experts:
                raise UserError(
                    "fusion: early presents a missing modality as missing: zero_image, and has experts."
                )
            self.network = EarlyMuSSNetwork(self.modalities, num_classes, gate=gate, **common)
        else:
            if gate:
                raise UserError(
                    "The decode gate takes guidance at full resolution: set fusion: early."
                )
            self.network = MuSSNetwork(
                list(self.modalities), num_classes, missing=missing, experts=experts, **common
            )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Cross-entropy of the main and of the auxiliary logits."""
        images = batch["image"]
        present = draw_subsets(self.subsets, self.available(batch), self.subsets_per)
        main, aux = self.network.forward_train(images, present)
        terms = {"main": cross_entropy(main, batch["mask"], self.ignore_index)}
        if aux is not None:
            terms["aux"] = cross_entropy(aux, batch["mask"], self.ignore_index)
        return terms

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """See the base class: the fused maps, and with concatenation each modality's part of the first convolution."""
        encoded = self.encode(batch["image"])
        single = {} if isinstance(self.network, EarlyMuSSNetwork) else encoded
        return named_maps(self.network.fuse(encoded)[1]["features"], single)

    def aux_weight(self, progress: float) -> float:
        """a_t for the share of the training that is done."""
        first = self.loss_weights["aux"]
        return first + (self.aux_last - first) * progress

    def weighted_sum(self, terms: Mapping[str, Tensor]) -> Tensor:
        """L = main + a_t aux."""
        weights = {**self.loss_weights, "aux": self.aux_weight(self.progress)}
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Reseed, and note how far the training is."""
        super().on_train_batch_start(batch, batch_idx)
        self.progress = self.global_step / self.schedule_length()[0]
