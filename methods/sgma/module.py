"""SGMA as a Lightning module: variants, losses and recipe (paper sections III-E and IV-A)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from methods.base import AnyModalitySegmenter, named_maps
from methods.parts.losses import cross_entropy
from methods.parts.optim import Recipe
from methods.sgma.network import SGMANetwork


class SGMA(AnyModalitySegmenter):
    """SGMA (`fusion: sgf, mas: true`), SGF alone (`mas: false`), additive fusion (`fusion: additive, mas: false`).

    Loss terms: `sgf` and `mas` with the paper's weights 2 and 1 (eq. 14); additive fusion has the one term `additive`.

    Args:
        modalities: name -> channels, in the dataset's order.
        num_classes: K, also the number of prototype slots.
        ignore_index: label value without loss.
        seed: see the base class.
        loss_weights: see the base class.
        optimizer: see the base class.
        backbone: `pvt_v2_b2`, `resnet50` (the paper's), `pvt_v2_b0` (small scale) or another timm pyramid.
        pretrained: ImageNet weights (the paper does not say; see the port ledger).
        pretrained_path: local weight file.
        reduction: `auto`, null or four widths: 1x1 convolutions between encoder and SGF.
        fusion: `sgf` or `additive`.
        mas: train the modality-aware sampling branch.
        proto_norm: normalisation of the prototypes.
        mp_mode: depthwise convolutions of MP in parallel or sequence.
        mas_draw: one draw per sample or per batch.
        mas_scope: one draw per scale or per image.
        sp_heads: heads of SP.
        rp_heads: heads of RP.
        kernels: depthwise kernels of MP.
        attn_bias: biases in SP and RP.
        depthwise_bias: biases in MP's depthwise convolutions.
        pointwise_bias: biases in MP's pointwise convolutions.
        head_width: width of the all-MLP head.
        head_norm: `bn`, `syncbn` or `ln`.
        head_calls: `packed` or `separate` calls for the two branches.
        head_dropout: Dropout2d in the head.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"sgf": 2.0, "mas": 1.0, "additive": 1.0}

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
        fusion: Literal["sgf", "additive"] = "sgf",
        mas: bool = True,
        proto_norm: Literal["mean", "none", "softmax"] = "mean",
        mp_mode: Literal["parallel", "sequential"] = "parallel",
        mas_draw: Literal["sample", "batch"] = "sample",
        mas_scope: Literal["per_scale", "per_image"] = "per_scale",
        sp_heads: int = 8,
        rp_heads: int = 4,
        kernels: tuple[int, ...] = (3, 7, 11),
        attn_bias: bool = False,
        depthwise_bias: bool = False,
        pointwise_bias: bool = True,
        head_width: int = 256,
        head_norm: Literal["bn", "syncbn", "ln"] = "bn",
        head_calls: Literal["packed", "separate"] = "packed",
        head_dropout: float = 0.1,
    ) -> None:
        super().__init__(modalities, num_classes, ignore_index, seed, loss_weights, optimizer)
        self.network = SGMANetwork(
            list(self.modalities),
            num_classes,
            backbone=backbone,
            pretrained=pretrained,
            pretrained_path=pretrained_path,
            reduction=reduction,
            fusion=fusion,
            mas=mas,
            mas_draw=mas_draw,
            mas_scope=mas_scope,
            head_width=head_width,
            head_norm=head_norm,
            head_calls=head_calls,
            head_dropout=head_dropout,
            proto_norm=proto_norm,
            mp_mode=mp_mode,
            sp_heads=sp_heads,
            rp_heads=rp_heads,
            kernels=kernels,
            attn_bias=attn_bias,
            depthwise_bias=depthwise_bias,
            pointwise_bias=pointwise_bias,
        )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Eqs. 12 and 13: cross-entropy of the fused and of the single-modality branch."""
        full, single, _ = self.network.forward_train(batch["image"])
        name = "additive" if self.network.fusion == "additive" else "sgf"
        terms = {name: cross_entropy(full, batch["mask"], self.ignore_index)}
        if single is not None:
            terms["mas"] = cross_entropy(single, batch["mask"], self.ignore_index)
        return terms

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """See the base class: features per scale, with SGF robustness maps r (eq. 10), with MAS the chances s (eq. 11).

        The features of a modality are what SGF takes in (f_m, after MP), in additive fusion the encoder's. `draws` are
        those of one training step on this batch.
        """
        network, encoded = self.network, self.encode(batch["image"])
        _, extras = network.fuse(encoded)
        found = named_maps(
            extras["features"],
            {m: [getattr(one, "features", one) for one in given] for m, given in encoded.items()},
        )
        kinds = {"robustness": extras["robustness"]}
        if network.mas:
            kinds["sampling"], drawn = network.draw(extras["robustness"], None)
            kinds["draws"] = [
                torch.stack([(index == i).float() for i in range(len(encoded))]) for index in drawn
            ]
        for kind, scales in kinds.items():
            for scale, values in enumerate(scales, 1):
                found |= {
                    f"{kind}/{m}/{scale}": of_one for m, of_one in zip(encoded, values, strict=True)
                }
        return found
