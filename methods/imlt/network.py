"""IMLT on a shared hierarchical encoder: fusion tokens at four scales, all-MLP head.

Original: Y. Chen, M. Zhao, L. Bruzzone, IEEE TGRS 62, 2024, doi 10.1109/TGRS.2024.3387837, a plain
transformer; code github.com/Yusin2Chen/incomplete_multimodal_fusion (no licence, nothing of it is
used). The transfer to an encoder pyramid is ours (dossier section 4; the port ledger says what is
inferred).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from methods.imlt.contrastive_loss import (
    AttentionPool,
    Reduce,
    distillation_loss,
    info_nce,
    over_subsets,
)
from methods.imlt.fusion import FusionLayer, Stream
from methods.parts.network import Fused, Present, SharedEncoderNetwork
from methods.parts.tokens import tokens_of
from usererror import UserError

Contrast = Literal["distill", "infonce", "none"]


class IMLTNetwork(SharedEncoderNetwork):
    """Shared encoder, one fusion layer per scale, head on the fusion tokens only.

    Args:
        contrast: `distill` (DFC2023 script) or `infonce` builds the pooling of the contrastive
            term, `none` leaves it out.
        con_reduce: `mean` over the modalities of a sample, or `sum` as released.
        student_temperature: of the fusion side of `distill`, and of `infonce`.
        teacher_temperature: of the modality side of `distill`.
        head_channels, token_grid, key_grid, ff_mult, own_token: see `FusionLayer`.
    """

    def __init__(
        self,
        modalities: Iterable[str],
        num_classes: int,
        contrast: Contrast = "distill",
        con_reduce: Reduce = "mean",
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        pool_heads: int = 8,
        head_channels: int = 64,
        token_grid: int = 16,
        key_grid: int = 16,
        ff_mult: float = 1.0,
        own_token: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(modalities, **options)
        if contrast not in get_args(Contrast):
            raise UserError(f"contrast {contrast!r} is none of {', '.join(get_args(Contrast))}.")
        if con_reduce not in get_args(Reduce):
            raise UserError(f"con_reduce {con_reduce!r} is neither mean nor sum.")
        self.contrast, self.con_reduce = contrast, con_reduce
        self.temperatures = (student_temperature, teacher_temperature)
        self.encoder = self.make_encoder()
        widths, count = self.encoder.channels, len(self.modalities)
        own = (head_channels, token_grid, key_grid, ff_mult, own_token)
        self.fusion = nn.ModuleList(FusionLayer(width, count, *own) for width in widths)
        self.pool = None
        if contrast != "none":
            self.pool = AttentionPool(widths[-1], count, pool_heads)
        self.head = self.make_head(num_classes)

    def undecayed_parameters(self) -> list[nn.Parameter]:
        """List tokens, modality vectors and pooling queries: not decayed, although not 1-D."""
        found: list[Any] = [] if self.pool is None else [self.pool.queries]
        for layer in self.fusion:
            found += [layer.tokens, layer.vectors]
        return found

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, list[Stream]]:
        """Everything that one modality alone determines: {modality: [`Stream`] * 4}."""
        pyramids = self.encoder({m: images[m] for m in self.ordered_names(images)})
        encoded = {}
        for m, maps in pyramids.items():
            place, pairs = self.modalities.index(m), zip(self.fusion, maps, strict=True)
            encoded[m] = [layer.project_modality(place, feature) for layer, feature in pairs]
        return encoded

    def fuse(self, encoded: Mapping[str, list[Stream]], present: Present | None = None) -> Fused:
        """Predict padded logits (B, K, H/4, W/4); the extras `features` are X of four scales."""
        names = self.ordered_names(encoded)
        mask = self.stack_present(names, present)
        per_scale = zip(*(encoded[m] for m in names), strict=True)
        layers = zip(self.fusion, per_scale, strict=True)
        maps = [layer.fuse(streams, mask) for layer, streams in layers]
        return self.head(maps), {"modalities": names, "features": maps}

    def contrastive_loss(
        self, encoded: Mapping[str, Sequence[Stream]], fused: Tensor, present: Present | None = None
    ) -> Tensor:
        """Compute L_con at the coarsest scale: pooled X (B, C, h, w) against each modality's."""
        if self.pool is None:
            raise RuntimeError("the network was built with contrast: none")
        names = self.ordered_names(encoded)
        indices = [self.modalities.index(m) for m in names]
        # in its `distill` form no gradient passes through the modality side
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.contrast == "infonce"):
            # each modality is pooled by its own query
            pooled_streams = []
            for m, index in zip(names, indices, strict=True):
                pooled_streams.append(self.pool(tokens_of(encoded[m][-1].features), [index]))
            targets = torch.cat(pooled_streams, 1)
        pooled = self.pool(tokens_of(fused), indices)
        everywhere = torch.ones(pooled.shape[:2], dtype=torch.bool, device=pooled.device)
        mask = everywhere if present is None else torch.stack([present[m] for m in names], 1)
        if self.contrast == "infonce":
            losses = info_nce(pooled, targets, mask, self.temperatures[0])
        else:
            losses = distillation_loss(pooled, targets, *self.temperatures)
        return over_subsets(losses, mask, self.con_reduce)
