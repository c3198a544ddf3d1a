"""The control as a Lightning module: cross-entropy on subsets drawn by a named rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from methods.base import AnyModalitySegmenter, named_maps
from methods.control.network import ControlNetwork
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope, draw_subsets
from methods.parts.optim import Recipe


class Control(AnyModalitySegmenter):
    """`control` sees full sets in training (`subsets: full`), `control_dropout` any subset (`subsets: any_subset`).

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
        subsets: which subsets training draws, see `methods.parts.modality_dropout`.
        subsets_per: one draw per sample or per batch.
        head_width: width of the all-MLP head.
        head_norm: `bn`, `syncbn` or `ln`.
        head_dropout: Dropout2d in the head.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0}

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
        subsets: SubsetRule = "full",
        subsets_per: SubsetScope = "sample",
        head_width: int = 256,
        head_norm: Literal["bn", "syncbn", "ln"] = "bn",
        head_dropout: float = 0.1,
    ) -> None:
        super().__init__(modalities, num_classes, ignore_index, seed, loss_weights, optimizer)
        self.subsets, self.subsets_per = subsets, subsets_per
        self.network = ControlNetwork(
            list(self.modalities),
            num_classes,
            backbone=backbone,
            pretrained=pretrained,
            pretrained_path=pretrained_path,
            reduction=reduction,
            head_width=head_width,
            head_norm=head_norm,
            head_dropout=head_dropout,
        )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Cross-entropy on the drawn subset of what each sample has."""
        present = draw_subsets(self.subsets, self.available(batch), self.subsets_per)
        return {
            "seg": cross_entropy(
                self.network(batch["image"], present), batch["mask"], self.ignore_index
            )
        }

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """See the base class: the encoder's maps before and after their mean."""
        encoded = self.encode(batch["image"])
        return named_maps(self.network.fuse(encoded)[1]["features"], encoded)
