"""MuSS by early fusion: full-resolution experts, channel matching, backbone from stride 4.

The front end of MultiSenseSeg (IEEE TGRS 62, 2024, art. 4703724) before a shared backbone; dossier
section 4.2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.muss.experts import ImageExpert, SqueezeExcitation, phase_offsets
from methods.muss.matching import AdaptiveMatching
from methods.muss.network import AUX_SCALE, AuxHead, at_image_size
from methods.parts.backbones import STRIDES, pad_to_multiple
from methods.parts.heads import AllMLPHead
from methods.parts.kernel_folding import FoldCache
from methods.parts.network import (
    Fused,
    Present,
    SharedEncoderNetwork,
    blank_missing,
    complete_entries,
)
from usererror import UserError

EXPERT_WIDTH = 32


class ChannelsLast(nn.Module):
    """(B, C, H, W) -> (B, H, W, C), what timm's PVT takes between patch embedding and stage."""

    def forward(self, features: Tensor) -> Tensor:
        """Move the channels to the end."""
        return features.permute(0, 2, 3, 1)


def enter_at_stride_4(pyramid: Any) -> int:
    """Take the stem out of a timm feature extractor; returns the width of the maps it now takes."""
    parts: dict[str, Any] = dict(pyramid.named_children())
    if "patch_embed" in parts:
        width = parts["patch_embed"].proj.out_channels
        pyramid["patch_embed"] = ChannelsLast()
        return width
    if {"conv1", "bn1", "act1", "maxpool"} <= set(parts):
        width = parts["bn1"].num_features
        for name in ("conv1", "bn1", "act1", "maxpool"):
            pyramid[name] = nn.Identity()
        return width
    raise UserError(
        "Early fusion knows where to enter PVT-v2 and ResNet backbones only; take fusion: concat."
    )


class GatedHead(AllMLPHead):
    """All-MLP head with MultiSenseSeg's decode gate before the classifier (dossier 2.4)."""

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        width: int,
        norm: str,
        dropout: float,
        guidance: int,
    ) -> None:
        super().__init__(in_channels, num_classes, width, norm, dropout)
        half = width // 2

        def with_norm(conv: nn.Conv2d) -> nn.Sequential:
            return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels))

        self.narrow = with_norm(nn.Conv2d(width, half, 3, padding=1, bias=False))
        self.guide = with_norm(nn.Conv2d(guidance, half, 1, bias=False))
        self.inner = with_norm(nn.Conv2d(half, half, 1, bias=False))
        self.spatial = with_norm(nn.Conv2d(half, 1, 1, bias=False))
        self.channel = SqueezeExcitation(half)
        self.smooth = with_norm(nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False))
        self.widen = nn.Conv2d(half, width, 1, bias=False)

    def forward(self, maps: Sequence[Tensor], guidance: Tensor) -> Tensor:  # type: ignore[override]
        """[(B, C_i, H_i, W_i)], finest first, and R (B, 32, H, W) -> logits (B, K, H_1, W_1)."""
        fused = F.relu(self.norm(self._mixed_by_quarters(maps)))
        narrow = self.narrow(fused)
        inner = self.inner(narrow)
        guide = self.guide(F.max_pool2d(guidance, STRIDES[0]))
        spatial = inner * torch.sigmoid(self.spatial(F.relu(guide + inner)))
        gated = self.widen(self.smooth(spatial + self.channel(narrow)))
        return self.classifier(self.dropout(F.relu(fused + gated)))


class EarlyMuSSNetwork(SharedEncoderNetwork):
    """MuSS by early fusion; a missing modality is an image of zeros, on which its expert runs.

    `trained_phases` makes the experts' constants parameters; `gate` is the decode gate, fed with
    full-resolution guidance, before the classifier.
    """

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        trained_phases: bool = False,
        aux: bool = True,
        gate: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(modalities, **options)
        self.channels = dict(modalities)
        phases = phase_offsets(len(self.modalities))
        self.experts = nn.ModuleDict()
        for (m, channels), phase in zip(self.channels.items(), phases, strict=True):
            self.experts[m] = ImageExpert(channels, phase, EXPERT_WIDTH, trained_phases)
        self.encoder = self.make_encoder()
        # the encoder's stem and its weights are dropped
        entry = enter_at_stride_4(self.encoder.pyramid)
        guidance = EXPERT_WIDTH if gate else 0
        count = len(self.modalities)
        self.matching = AdaptiveMatching(count, EXPERT_WIDTH, entry, guidance=guidance)
        if gate:
            own = (self.encoder.channels, num_classes, *self._head_options)
            self.head: AllMLPHead = GatedHead(*own, guidance)
        else:
            self.head = self.make_head(num_classes)
        self.aux = AuxHead(self.encoder.channels[AUX_SCALE], num_classes) if aux else None
        self._zeros = FoldCache()

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run each modality's expert on the padded image: (B, 32, H, W)."""
        return {m: self.experts[m](pad_to_multiple(images[m])) for m in self.ordered_names(images)}

    def _experts_of_zeros(self, height: int, width: int) -> dict[str, Tensor]:
        """Compute every expert's output on an image of zeros, (1, 32, H, W)."""
        sources = [*self.experts.parameters(), *self.experts.buffers()]

        def make_outputs() -> dict[str, Tensor]:
            outputs = {}
            for m, channels in self.channels.items():
                outputs[m] = self.experts[m](sources[0].new_zeros(1, channels, height, width))
            return outputs

        return self._zeros.get(sources, make_outputs, (height, width))

    def _complete(self, encoded: Mapping[str, Tensor], present: Present | None) -> Tensor:
        """Concatenate every modality's expert output, that of zeros where it is missing (X)."""
        like = encoded[self.ordered_names(encoded)[0]]
        if present is None and len(encoded) == len(self.modalities):
            return torch.cat([encoded[m] for m in self.modalities], 1)
        zeros = self._experts_of_zeros(*like.shape[-2:])
        return torch.cat(list(complete_entries(encoded, zeros, present).values()), 1)

    def fuse(self, encoded: Mapping[str, Tensor], present: Present | None = None) -> Fused:
        """Predict a subset, as `MuSSNetwork.fuse`; `features` are the backbone's maps."""
        fused, guidance = self.matching(self._complete(encoded, present))
        maps = self.encoder.pyramid_of(fused)
        extras: dict[str, Any] = {"features": maps}
        if self.training and self.aux is not None:
            extras["aux"] = self.aux(maps[AUX_SCALE])
        return self.head(maps) if guidance is None else self.head(maps, guidance), extras

    def forward_train(
        self, images: Mapping[str, Tensor], present: Present, available: Present | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Predict logits and auxiliary logits (or None), (B, K, H, W); `present` as for `fuse`.

        What is not present is an image of zeros, whether it is `available` or not.
        """
        given = blank_missing(images, present, self.channels)
        return at_image_size(self.fuse(self.encode(given)), given)
