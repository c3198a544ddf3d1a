"""IMLT on a shared hierarchical encoder, in plain torch: fusion tokens at four scales and the all-MLP head.

Original: Y. Chen, M. Zhao, L. Bruzzone, IEEE TGRS 62, 2024, doi 10.1109/TGRS.2024.3387837, a plain transformer; code
github.com/Yusin2Chen/incomplete_multimodal_fusion (no licence, nothing of it is used). The transfer to an encoder
pyramid is ours (dossier section 4; the port ledger says what is inferred).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.imlt.contrastive_loss import (
    AttentionPool,
    Reduce,
    distillation,
    info_nce,
    over_subsets,
)
from methods.imlt.fusion import FusionLayer, Stream, tokens_of
from methods.parts.backbones import SharedEncoder
from methods.parts.heads import AllMLPHead
from methods.parts.network import AnyModalityNetwork
from usererror import UserError

Contrast = Literal["distill", "infonce", "none"]
Present = Mapping[str, Tensor]


class IMLTNetwork(AnyModalityNetwork):
    """Shared encoder, one fusion layer per scale, head on the fusion tokens only.

    Args:
        modalities: names, in the dataset's order.
        num_classes: K.
        backbone: timm model with maps at strides 4, 8, 16, 32.
        pretrained: ImageNet weights for the encoder.
        pretrained_path: weight file instead of the cache.
        reduction: widths of 1x1 convolutions after the encoder; `auto` only where it is wider than PVT.
        contrast: `distill` or `infonce` builds the pooling of the contrastive term, `none` leaves it out.
        con_reduce: `mean` or `sum` over the modalities of a sample.
        student_temperature: of the fusion side of `distill`, and of `infonce`.
        teacher_temperature: of the modality side of `distill`.
        pool_heads: heads of the attention pooling.
        head_width: E of the all-MLP head.
        head_norm: `bn`, `syncbn` or `ln`.
        head_dropout: Dropout2d of the head.
        **fusion: options of `FusionLayer`.

    Raises:
        UserError: a named option that does not exist.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        num_classes: int,
        backbone: str = "pvt_v2_b2",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        reduction: Sequence[int] | str | None = "auto",
        contrast: Contrast = "distill",
        con_reduce: Reduce = "mean",
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        pool_heads: int = 8,
        head_width: int = 256,
        head_norm: str = "bn",
        head_dropout: float = 0.1,
        **fusion: Any,
    ) -> None:
        super().__init__(modalities)
        if contrast not in ("distill", "infonce", "none"):
            raise UserError(f"contrast {contrast!r} is none of distill, infonce, none.")
        if con_reduce not in ("mean", "sum"):
            raise UserError(f"con_reduce {con_reduce!r} is neither mean nor sum.")
        self.contrast, self.con_reduce = contrast, con_reduce
        self.temperatures = (student_temperature, teacher_temperature)
        self.encoder = SharedEncoder(backbone, pretrained, pretrained_path, reduction)
        widths = self.encoder.channels
        self.fusion = nn.ModuleList(
            FusionLayer(width, len(self.modalities), **fusion) for width in widths
        )
        self.pool = (
            None
            if contrast == "none"
            else AttentionPool(widths[-1], len(self.modalities), pool_heads)
        )
        self.head = AllMLPHead(widths, num_classes, head_width, head_norm, head_dropout)

    def undecayed(self) -> list[nn.Parameter]:
        """Learned tokens, modality vectors and pooling queries: no weight decay, although not one-dimensional."""
        queries = [] if self.pool is None else [self.pool.queries]
        return [*(p for layer in self.fusion for p in (layer.tokens, layer.vectors)), *queries]

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, list[Stream]]:
        """Everything that one modality alone determines: {modality: [`Stream`] * 4}."""
        pyramids = self.encoder({m: images[m] for m in self.names(images)})
        return {
            m: [
                layer.project(self.modalities.index(m), f)
                for layer, f in zip(self.fusion, maps, strict=True)
            ]
            for m, maps in pyramids.items()
        }

    def fuse(
        self, encoded: Mapping[str, Sequence[Stream]], present: Present | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Logits of a subset.

        Args:
            encoded: entries of `encode` for any non-empty subset.
            present: {modality: B bool}, which samples have it (finite values elsewhere are ignored); None = all.

        Returns:
            Logits B x K x H/4 x W/4 of the padded image, and extras: `modalities` (their order), `features` (the
            fusion tokens X of the four scales, B x C_i x H_i x W_i).
        """
        names = self.names(encoded)
        mask = None if present is None else torch.stack([present[m] for m in names])
        maps = [
            layer.fuse([encoded[m][i] for m in names], mask) for i, layer in enumerate(self.fusion)
        ]
        return self.head(maps), {"modalities": names, "features": maps}

    def contrastive(
        self, encoded: Mapping[str, Sequence[Stream]], fused: Tensor, present: Present | None = None
    ) -> Tensor:
        """L_con at the coarsest scale: pooled fusion tokens against the pooled tokens of each modality.

        Args:
            encoded: what was fused.
            fused: X of the coarsest scale, B x C x h x w.
            present: as in `fuse`.

        Returns:
            A scalar; in its `distill` form no gradient passes through the modality side.

        Raises:
            RuntimeError: the network was built without the term.
        """
        if self.pool is None:
            raise RuntimeError("the network was built with contrast: none")
        names = self.names(encoded)
        indices = [self.modalities.index(m) for m in names]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.contrast == "infonce"):
            streams = [tokens_of(encoded[m][-1].features) for m in names]
            targets = torch.cat(
                [self.pool(s, [i]) for s, i in zip(streams, indices, strict=True)], 1
            )
        pooled = self.pool(tokens_of(fused), indices)
        everywhere = torch.ones(pooled.shape[:2], dtype=torch.bool, device=pooled.device)
        mask = everywhere if present is None else torch.stack([present[m] for m in names], 1)
        if self.contrast == "infonce":
            losses = info_nce(pooled, targets, mask, self.temperatures[0])
        else:
            losses = distillation(pooled, targets, *self.temperatures)
        return over_subsets(losses, mask, self.con_reduce)
