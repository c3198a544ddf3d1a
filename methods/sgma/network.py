"""The SGMA network: shared encoder, SGF at four scales, MAS in training, all-MLP head.

SGMA, L. Wen, L. Liao, J. Xiao, M. Wang, arXiv 2603.02505. Written from the paper; no official code
is known.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.parts.heads import to_image_size
from methods.parts.network import Fused, Present, SharedEncoderNetwork, as_mask
from methods.parts.precision import at_least_float32
from methods.sgma.sgf import MPMode, ProtoNorm, SGFScale
from usererror import UserError

# keeps 1/r finite where a modality's robustness vanishes
ROBUSTNESS_FLOOR = 1e-6


def invert_robustness(robustness: Tensor, present: Tensor | None = None) -> Tensor:
    """Compute (1/r_m) / sum over modalities of (1/r) per pixel (eq. 11), in float32.

    Example:
        >>> r = torch.tensor([0.8, 0.2]).reshape(2, 1, 1, 1)
        >>> invert_robustness(r).flatten()
        tensor([0.2000, 0.8000])

    Args:
        robustness: r, (M, B, H, W).
        present: bool (M, B); a modality that a sample lacks gets 0.
    """
    inverse = at_least_float32(robustness).clamp(min=ROBUSTNESS_FLOOR).reciprocal()
    if present is not None:
        inverse = inverse * present[:, :, None, None]
    # eq. 11: fragile modalities are drawn more often
    return inverse / inverse.sum(0)


def sampling_probabilities(robustness: Tensor, present: Tensor | None = None) -> Tensor:
    """Average the inverted robustness maps over pixels: s (M, B), sums to 1 over modalities."""
    return invert_robustness(robustness.detach(), present).mean((2, 3))


def draw_modalities(
    probabilities: Tensor, per_batch: bool = False, present: Tensor | None = None
) -> Tensor:
    """Draw one modality index per sample ~ Categorical(s), int64 (B,), s being (M, B).

    `per_batch` is one draw for all from the mean of s. Absent modalities, bool (M, B), are never
    drawn: a sample that lacks the drawn one draws among the others.
    """
    # exponential races: argmax of s / Exp(1) is distributed as s, without a copy to the host
    noise = torch.empty_like(probabilities[:, :1] if per_batch else probabilities).exponential_()
    if per_batch:
        probabilities = probabilities.mean(1, keepdim=True).expand_as(probabilities)
        if present is not None:
            probabilities = probabilities * present
    return (probabilities / noise).argmax(0)


class SGMANetwork(SharedEncoderNetwork):
    """Shared encoder, SGF at four scales, MAS in training, all-MLP head; and its ablation rows.

    Args:
        num_classes: K, also the number of prototype slots.
        fusion: `sgf`, or `additive` for the plain sum of encoder maps (Table VII row a).
        mas: train the second branch with one drawn modality per scale (row c; without it row b).
        mas_draw: a draw per `sample` or one per `batch`.
        mas_scope: a draw `per_scale`, or one `per_image` for all scales from the mean of s.
        head_calls: both branches `packed` along the batch as in the paper, or `separate`, each
            with batch statistics of its own.
    """

    def __init__(
        self,
        modalities: Iterable[str],
        num_classes: int,
        fusion: Literal["sgf", "additive"] = "sgf",
        mas: bool = True,
        mas_draw: Literal["sample", "batch"] = "sample",
        mas_scope: Literal["per_scale", "per_image"] = "per_scale",
        head_calls: Literal["packed", "separate"] = "packed",
        proto_norm: ProtoNorm = "mean",
        mp_mode: MPMode = "parallel",
        sp_heads: int = 8,
        rp_heads: int = 4,
        kernels: tuple[int, ...] = (3, 7, 11),
        attn_bias: bool = False,
        depthwise_bias: bool = False,
        pointwise_bias: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(modalities, **options)
        if mas and fusion == "additive":
            raise UserError(
                "MAS draws from SGF's robustness maps; additive fusion has none: set mas: false."
            )
        # Table VII: row a is additive, row b SGF alone, row c both
        self.fusion, self.mas = fusion, mas
        self.mas_per_batch, self.mas_per_image = mas_draw == "batch", mas_scope == "per_image"
        self.packed_head = head_calls == "packed"
        self.encoder = self.make_encoder()
        # in the order of SGFScale's own arguments
        sgf = (sp_heads, rp_heads, kernels, proto_norm, mp_mode)
        biases = (attn_bias, depthwise_bias, pointwise_bias)
        widths = self.encoder.channels if fusion == "sgf" else ()
        self.sgf = nn.ModuleList(
            SGFScale(width, num_classes, self.modalities, *sgf, *biases) for width in widths
        )
        self.head = self.make_head(num_classes)

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, list[Any]]:
        """Encode each modality as four `Tokens`, or as four maps F_m for additive fusion."""
        pyramids = self.encoder({m: images[m] for m in self.ordered_names(images)})
        if self.fusion == "additive":
            return dict(pyramids)
        encoded: dict[str, list[Any]] = {}
        for m, maps in pyramids.items():
            pairs = zip(self.sgf, maps, strict=True)
            encoded[m] = [scale.project_modality(m, feature) for scale, feature in pairs]
        return encoded

    def _fuse_maps(
        self, encoded: Mapping[str, Any], mask: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        per_scale = zip(*(encoded[m] for m in self.ordered_names(encoded)), strict=True)
        maps, robustness = [], []
        for number, entries in enumerate(per_scale):
            if self.fusion == "sgf":
                fused, shares = self.sgf[number].fuse(entries, mask)
                maps.append(fused)
                robustness.append(shares)
            elif mask is None:
                maps.append(sum(entries))
            else:
                maps.append(sum(f * as_mask(p) for f, p in zip(entries, mask, strict=True)))
        return maps, robustness

    def fuse(self, encoded: Mapping[str, Any], present: Present | None = None) -> Fused:
        """Predict padded logits (B, K, H/4, W/4); extras: `features`, `robustness` (M, B, h, w)."""
        names = self.ordered_names(encoded)
        maps, robustness = self._fuse_maps(encoded, self.stack_present(names, present))
        return self.head(maps), {"modalities": names, "robustness": robustness, "features": maps}

    def sampling_chances(
        self, robustness: Sequence[Tensor], mask: Tensor | None = None
    ) -> list[Tensor]:
        """Compute per scale s (M, B), with which MAS draws a modality."""
        chances = [sampling_probabilities(r, mask) for r in robustness]
        return [torch.stack(chances).mean(0)] * len(chances) if self.mas_per_image else chances

    def draw_per_scale(
        self, robustness: Sequence[Tensor], mask: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Draw a modality: per scale s (M, B) and the drawn index (B,)."""
        chances = self.sampling_chances(robustness, mask)
        if self.mas_per_image:
            # one draw for all four scales
            return chances, [draw_modalities(chances[0], self.mas_per_batch, mask)] * len(chances)
        return chances, [draw_modalities(s, self.mas_per_batch, mask) for s in chances]

    def forward_train(
        self, images: Mapping[str, Tensor], present: Present | None = None
    ) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
        """Predict both branches of a training step: the full set, and the drawn modalities.

        Both (B, K, H, W), the second None without MAS or with one modality; the extras are those of
        `fuse`, `sampling` (s per scale, (M, B)), `draws` (index per scale, (B,)).
        """
        size = next(iter(images.values())).shape[-2:]
        encoded = self.encode_present(images, present)
        names = self.ordered_names(encoded)
        mask = self.stack_present(names, present)
        maps, robustness = self._fuse_maps(encoded, mask)
        extras: dict[str, Any] = {"modalities": names, "robustness": robustness, "features": maps}
        if not self.mas or len(names) == 1:
            return to_image_size(self.head(maps), size), None, extras
        extras["sampling"], extras["draws"] = self.draw_per_scale(robustness, mask)
        singles = []
        for i, scale in enumerate(self.sgf):
            tokens = [encoded[m][i] for m in names]
            singles.append(scale.fuse_single(tokens, extras["draws"][i]))
        if self.packed_head:
            # joint batch statistics of both branches, as in the paper
            pairs = [torch.cat(pair) for pair in zip(maps, singles, strict=True)]
            full, single = self.head(pairs).chunk(2)
        else:
            full, single = self.head(maps), self.head(singles)
        return to_image_size(full, size), to_image_size(single, size), extras
