"""The SGMA network in plain torch: shared encoder, SGF at four scales, MAS in training, all-MLP head.

SGMA, L. Wen, L. Liao, J. Xiao, M. Wang, arXiv 2603.02505. Written from the paper; no official code is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.parts.backbones import SharedEncoder
from methods.parts.heads import AllMLPHead, to_image_size
from methods.parts.network import AnyModalityNetwork
from methods.parts.precision import at_least_float32
from methods.sgma.sgf import SGFScale
from usererror import UserError

Present = Mapping[str, Tensor]
ROBUSTNESS_FLOOR = 1e-6


def invert_robustness(robustness: Tensor, present: Tensor | None = None) -> Tensor:
    """Eq. 11: (1/r_m) / sum over modalities of (1/r), per pixel, in float32; r and result M x B x H x W.

    r is kept above 1e-6; a modality that a sample lacks (`present` M x B false) gets 0.
    """
    inverse = at_least_float32(robustness).clamp(min=ROBUSTNESS_FLOOR).reciprocal()
    if present is not None:
        inverse = inverse * present[:, :, None, None]
    return inverse / inverse.sum(0)


def sampling_probabilities(robustness: Tensor, present: Tensor | None = None) -> Tensor:
    """s: the spatial mean of the inverted robustness maps, M x B; sums to 1 over the modalities."""
    return invert_robustness(robustness.detach(), present).mean((2, 3))


def draw_modalities(
    probabilities: Tensor, per_batch: bool = False, present: Tensor | None = None
) -> Tensor:
    """One modality index per sample ~ Categorical(s), by exponential races on torch's global generator.

    Args:
        probabilities: s, M x B.
        per_batch: one draw for all samples from the mean of s (a sample that lacks a modality draws among the others).
        present: M x B bool; absent modalities are never drawn.

    Returns:
        B int64.
    """
    noise = torch.empty_like(probabilities[:, :1] if per_batch else probabilities).exponential_()
    if per_batch:
        probabilities = probabilities.mean(1, keepdim=True).expand_as(probabilities)
        if present is not None:
            probabilities = probabilities * present
    return (probabilities / noise).argmax(0)


class SGMANetwork(AnyModalityNetwork):
    """SGMA and its ablation rows.

    Args:
        modalities: names, in the dataset's order.
        num_classes: K.
        backbone: timm model with maps at strides 4, 8, 16, 32.
        pretrained: ImageNet weights for the encoder.
        pretrained_path: weight file instead of the cache.
        reduction: widths of 1x1 convolutions between encoder and SGF; `auto` only where the encoder is wider than PVT.
        fusion: `sgf`, or `additive` for the plain sum of encoder maps (Table VII row a).
        mas: train the second branch with one drawn modality per scale (row c; without it row b).
        mas_draw: a draw per `sample` or one per `batch`.
        mas_scope: a draw `per_scale`, or one `per_image` for all four scales from the mean of s.
        head_width: E of the all-MLP head.
        head_norm: `bn`, `syncbn` or `ln`.
        head_calls: both branches `packed` along the batch as in the paper, or `separate` (own batch statistics).
        head_dropout: Dropout2d of the head.
        **sgf: options of `SGFScale`.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        num_classes: int,
        backbone: str = "pvt_v2_b2",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        reduction: Sequence[int] | str | None = "auto",
        fusion: Literal["sgf", "additive"] = "sgf",
        mas: bool = True,
        mas_draw: Literal["sample", "batch"] = "sample",
        mas_scope: Literal["per_scale", "per_image"] = "per_scale",
        head_width: int = 256,
        head_norm: str = "bn",
        head_calls: Literal["packed", "separate"] = "packed",
        head_dropout: float = 0.1,
        **sgf: Any,
    ) -> None:
        super().__init__(modalities)
        if mas and fusion == "additive":
            raise UserError(
                "MAS draws from SGF's robustness maps; additive fusion has none: set mas: false."
            )
        self.fusion, self.mas = fusion, mas
        self.mas_per_batch, self.mas_per_image = mas_draw == "batch", mas_scope == "per_image"
        self.packed_head = head_calls == "packed"
        self.encoder = SharedEncoder(backbone, pretrained, pretrained_path, reduction)
        widths = self.encoder.channels
        self.sgf = nn.ModuleList(
            SGFScale(width, num_classes, self.modalities, **sgf)
            for width in (widths if fusion == "sgf" else ())
        )
        self.head = AllMLPHead(widths, num_classes, head_width, head_norm, head_dropout)

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, list[Any]]:
        """Everything that one modality alone determines: {modality: [`Tokens`, or F_m for additive fusion] * 4}."""
        pyramids = self.encoder({m: images[m] for m in self.names(images)})
        if self.fusion == "additive":
            return dict(pyramids)
        return {
            m: [scale.project(m, feature) for scale, feature in zip(self.sgf, maps, strict=True)]
            for m, maps in pyramids.items()
        }

    def _presence(self, names: Sequence[str], present: Present | None) -> Tensor | None:
        return None if present is None else torch.stack([present[m] for m in names])

    def _fuse_maps(
        self, encoded: Mapping[str, Any], mask: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        per_scale = list(zip(*(encoded[m] for m in self.names(encoded)), strict=True))
        if self.fusion == "sgf":
            fused = [
                scale.fuse(tokens, mask) for scale, tokens in zip(self.sgf, per_scale, strict=True)
            ]
            return [feature for feature, _ in fused], [robustness for _, robustness in fused]
        if mask is not None:
            per_scale = [
                [f * p[:, None, None, None] for f, p in zip(maps, mask, strict=True)]
                for maps in per_scale
            ]
        return [sum(maps) for maps in per_scale], []

    def fuse(
        self, encoded: Mapping[str, Any], present: Present | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Logits of a subset.

        Args:
            encoded: entries of `encode` for any non-empty subset.
            present: {modality: B bool}, which samples have it (finite values elsewhere are ignored); None = all.

        Returns:
            Logits B x K x H/4 x W/4 of the padded image, and extras: `modalities` (their order), `robustness`
            (four M x B x H_i x W_i maps; empty for additive fusion), `features` (four fused maps).
        """
        names = self.names(encoded)
        maps, robustness = self._fuse_maps(encoded, self._presence(names, present))
        return self.head(maps), {"modalities": names, "robustness": robustness, "features": maps}

    def chances(self, robustness: Sequence[Tensor], mask: Tensor | None = None) -> list[Tensor]:
        """Per scale: s (M x B), with which MAS draws a modality."""
        chances = [sampling_probabilities(r, mask) for r in robustness]
        return [torch.stack(chances).mean(0)] * len(chances) if self.mas_per_image else chances

    def draw(
        self, robustness: Sequence[Tensor], mask: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Per scale: s (M x B) and the drawn index (B)."""
        chances = self.chances(robustness, mask)
        if self.mas_per_image:
            return chances, [draw_modalities(chances[0], self.mas_per_batch, mask)] * len(chances)
        return chances, [draw_modalities(s, self.mas_per_batch, mask) for s in chances]

    def forward_train(
        self, images: Mapping[str, Tensor], present: Present | None = None
    ) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
        """Both branches of a training step.

        Returns:
            Logits of the full set, logits of the drawn modalities (None without MAS or with one modality), both
            B x K x H x W, and extras: those of `fuse`, `sampling` (s per scale, M x B), `draws` (index per scale, B).
        """
        size = next(iter(images.values())).shape[-2:]
        encoded = self.encode(images)
        names = self.names(encoded)
        mask = self._presence(names, present)
        maps, robustness = self._fuse_maps(encoded, mask)
        extras: dict[str, Any] = {"modalities": names, "robustness": robustness, "features": maps}
        if not self.mas or len(names) == 1:
            return to_image_size(self.head(maps), size), None, extras
        extras["sampling"], extras["draws"] = self.draw(robustness, mask)
        singles = [
            scale.single([encoded[m][i] for m in names], extras["draws"][i])
            for i, scale in enumerate(self.sgf)
        ]
        if self.packed_head:
            full, single = self.head(
                [torch.cat(pair) for pair in zip(maps, singles, strict=True)]
            ).chunk(2)
        else:
            full, single = self.head(maps), self.head(singles)
        return to_image_size(full, size), to_image_size(single, size), extras
