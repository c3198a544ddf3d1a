"""IMLT, supervised, as a Lightning module: losses, modality draws and recipe (dossier 4.3 to 4.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from methods.base import AnyModalitySegmenter, named_maps
from methods.imlt.network import IMLTNetwork
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, draw_subsets
from methods.parts.optim import Recipe
from usererror import UserError


class IMLT(AnyModalitySegmenter):
    """IMLT without its pre-training stage ("IMLT, supervised"), with or without the contrastive term.

    Loss terms: `seg`, cross-entropy of a random subset of each sample, and `con`, the contrastive term with the
    authors' weight 0.3 (absent for `contrast: none`).

    Args:
        modalities: name -> channels, in the dataset's order.
        num_classes: K.
        ignore_index: label value without loss.
        seed: see the base class.
        loss_weights: see the base class.
        optimizer: see the base class; tokens, modality vectors and pooling queries are left undecayed with the 1-D
            parameters.
        backbone: `pvt_v2_b2`, `resnet50`, `pvt_v2_b0` (small scale) or another timm pyramid.
        pretrained: ImageNet weights of the encoder (not the authors' pre-training stage, which is not built).
        pretrained_path: local weight file.
        reduction: `auto`, null or four widths: 1x1 convolutions between encoder and fusion.
        subsets: rule of the modality draw in training.
        subsets_per: a draw per sample, or one per batch (as released).
        contrast: `distill` (DFC2023 script), `infonce` over the batch, or `none`.
        con_reduce: `mean` over a sample's modalities, or `sum` as released.
        student_temperature: of the fusion side, and of `infonce`.
        teacher_temperature: of the modality side.
        pool_heads: heads of the contrastive term's pooling.
        head_channels: wanted width of an attention head in the fusion layers.
        token_grid: side of the learned grid of fusion tokens.
        key_grid: longest side of the pooled keys of the stream attention.
        ff_mult: inner width of the feed-forward over C; 2.6667 is the released ratio.
        own_token: the fusion token is among its own keys; false is the authors' last, unfinished commit.
        head_width: width of the all-MLP head.
        head_norm: `bn`, `syncbn` or `ln`.
        head_dropout: Dropout2d in the head.

    Raises:
        UserError: an option that does not exist or does not fit.
    """

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0, "con": 0.3}

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
        subsets: SubsetRule = "size_uniform",
        subsets_per: Literal["sample", "batch"] = "sample",
        contrast: Literal["distill", "infonce", "none"] = "distill",
        con_reduce: Literal["mean", "sum"] = "mean",
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        pool_heads: int = 8,
        head_channels: int = 64,
        token_grid: int = 16,
        key_grid: int = 16,
        ff_mult: float = 1.0,
        own_token: bool = True,
        head_width: int = 256,
        head_norm: Literal["bn", "syncbn", "ln"] = "bn",
        head_dropout: float = 0.1,
    ) -> None:
        super().__init__(modalities, num_classes, ignore_index, seed, loss_weights, optimizer)
        self.subsets, self.subsets_per = subsets, subsets_per
        self.network = IMLTNetwork(
            list(self.modalities),
            num_classes,
            backbone=backbone,
            pretrained=pretrained,
            pretrained_path=pretrained_path,
            reduction=reduction,
            contrast=contrast,
            con_reduce=con_reduce,
            student_temperature=student_temperature,
            teacher_temperature=teacher_temperature,
            pool_heads=pool_heads,
            head_width=head_width,
            head_norm=head_norm,
            head_dropout=head_dropout,
            head_channels=head_channels,
            token_grid=token_grid,
            key_grid=key_grid,
            ff_mult=ff_mult,
            own_token=own_token,
        )

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Cross-entropy of a drawn subset per sample, and the contrastive term over the same subsets (dossier 4.3)."""
        mask = batch["mask"]
        if self.network.contrast == "infonce" and len(mask) < 2:
            raise UserError(
                "contrast: infonce compares the samples of a batch; give it a batch size of at least 4."
            )
        encoded = self.encode(batch["image"])
        present = draw_subsets(self.subsets, self.available(batch), self.subsets_per)
        logits, extras = self.network.fuse(encoded, present)
        terms = {
            "seg": cross_entropy(to_image_size(logits, mask.shape[-2:]), mask, self.ignore_index)
        }
        if self.network.pool is not None:
            terms["con"] = self.network.contrastive(encoded, extras["features"][-1], present)
        return terms

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """See the base class: the fusion tokens X, and the modality streams F_m that they read."""
        encoded = self.encode(batch["image"])
        single = {m: [s.features for s in streams] for m, streams in encoded.items()}
        return named_maps(self.network.fuse(encoded)[1]["features"], single)

    def configure_optimizers(self) -> Any:
        """The shared recipe, with tokens, modality vectors and pooling queries among the undecayed parameters."""
        configured = super().configure_optimizers()
        if self.recipe.no_decay_1d:
            decayed, plain = configured["optimizer"].param_groups
            moved = {id(p) for p in self.network.undecayed()}
            plain["params"] += [p for p in decayed["params"] if id(p) in moved]
            decayed["params"] = [p for p in decayed["params"] if id(p) not in moved]
        return configured
