"""MuSS by early fusion: full-resolution experts, channel matching, one pass of the backbone entered at stride 4.

The front end of MultiSenseSeg (IEEE TGRS 62, 2024, art. 4703724) before a shared backbone; dossier section 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.muss.experts import ImageExpert, SqueezeExcitation, phase_offsets
from methods.muss.matching import AdaptiveMatching
from methods.muss.network import AUX_SCALE, AuxHead, Present, at_image_size
from methods.parts.backbones import STRIDES, SharedEncoder, pad_to_multiple
from methods.parts.heads import AllMLPHead, upsample
from methods.parts.kernel_folding import FoldCache
from methods.parts.network import AnyModalityNetwork
from usererror import UserError

EXPERT_WIDTH = 32


class ChannelsLast(nn.Module):
    """B x C x H x W -> B x H x W x C, what timm's PVT takes between patch embedding and stage."""

    def forward(self, features: Tensor) -> Tensor:
        """Move the channels to the end."""
        return features.permute(0, 2, 3, 1)


def enter_at_stride_4(pyramid: nn.Module) -> int:
    """Take the stem out of a timm feature extractor, so that it accepts maps at stride 4; returns their width.

    Raises:
        UserError: neither a PVT-v2 nor a ResNet.
    """
    parts = dict(pyramid.named_children())
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


def blacken(
    images: Mapping[str, Tensor], present: Present, modalities: Mapping[str, int]
) -> dict[str, Tensor]:
    """An image of zeros wherever a sample lacks a modality, keys that are absent included.

    Args:
        images: {modality: B x C x H x W}.
        present: {modality: bool B}, for the keys of `images`.
        modalities: channels of every configured name.
    """
    some = next(iter(images.values()))
    absent = {
        m: some.new_zeros(len(some), c, *some.shape[-2:])
        for m, c in modalities.items()
        if m not in images
    }
    return {**{m: image * present[m][:, None, None, None] for m, image in images.items()}, **absent}


class GatedHead(AllMLPHead):
    """All-MLP head with MultiSenseSeg's decode gate before the classifier (dossier 2.4), at half the head's width.

    Args:
        in_channels, num_classes, width, norm, dropout: see `AllMLPHead`.
        guidance: channels of the guidance R.
    """

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

        def normed(conv: nn.Conv2d) -> nn.Sequential:
            return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels))

        self.narrow = normed(nn.Conv2d(width, half, 3, padding=1, bias=False))
        self.guide = normed(nn.Conv2d(guidance, half, 1, bias=False))
        self.inner = normed(nn.Conv2d(half, half, 1, bias=False))
        self.spatial = normed(nn.Conv2d(half, 1, 1, bias=False))
        self.channel = SqueezeExcitation(half)
        self.smooth = normed(nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False))
        self.widen = nn.Conv2d(half, width, 1)

    def forward(self, maps: Sequence[Tensor], guidance: Tensor) -> Tensor:
        """[B x C_i x H_i x W_i], finest first, and R (B x 32 x H x W) -> logits B x K x H_1 x W_1."""
        size = maps[0].shape[-2:]
        quarters = self.fusion.weight.chunk(len(self.projections), dim=1)
        parts = zip(maps, self.projections, quarters, strict=True)
        fused = sum(
            upsample(F.conv2d(proj(feature), quarter), size) for feature, proj, quarter in parts
        )
        fused = F.relu(self.norm(fused))
        narrow = self.narrow(fused)
        inner = self.inner(narrow)
        guide = self.guide(F.max_pool2d(guidance, STRIDES[0]))
        spatial = inner * torch.sigmoid(self.spatial(F.relu(guide + inner)))
        gated = self.widen(self.smooth(spatial + self.channel(narrow)))
        return self.classifier(self.dropout(F.relu(fused + gated)))


class EarlyMuSSNetwork(AnyModalityNetwork):
    """MuSS by early fusion; a missing modality is an image of zeros, on which its expert runs.

    Args:
        modalities: name -> channels, in the dataset's order.
        num_classes: K.
        backbone: `pvt_v2_*` or `resnet*` of timm; its stem and the stem's weights are dropped.
        pretrained: ImageNet weights for what remains of it.
        pretrained_path: weight file instead of the cache.
        reduction: widths of 1x1 convolutions after the backbone; `auto` only where it is wider than PVT.
        trained_phases: constants of the experts as parameters.
        aux: auxiliary head in training.
        gate: the decode gate, fed with full-resolution guidance, before the classifier.
        head_width: E of the all-MLP head.
        head_norm: `bn`, `syncbn` or `ln`.
        head_dropout: Dropout2d of the head.
    """

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        backbone: str = "pvt_v2_b2",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        reduction: Sequence[int] | str | None = "auto",
        trained_phases: bool = False,
        aux: bool = True,
        gate: bool = False,
        head_width: int = 256,
        head_norm: str = "bn",
        head_dropout: float = 0.1,
    ) -> None:
        super().__init__(modalities)
        self.channels = dict(modalities)
        pairs = zip(self.channels.items(), phase_offsets(len(self.modalities)), strict=True)
        self.experts = nn.ModuleDict(
            {m: ImageExpert(c, phase, EXPERT_WIDTH, trained_phases) for (m, c), phase in pairs}
        )
        self.encoder = SharedEncoder(backbone, pretrained, pretrained_path, reduction)
        entry = enter_at_stride_4(self.encoder.pyramid)
        guidance = EXPERT_WIDTH if gate else 0
        self.matching = AdaptiveMatching(
            len(self.modalities), EXPERT_WIDTH, entry, guidance=guidance
        )
        head = (self.encoder.channels, num_classes, head_width, head_norm, head_dropout)
        self.head = GatedHead(*head, guidance) if gate else AllMLPHead(*head)
        self.aux = AuxHead(self.encoder.channels[AUX_SCALE], num_classes) if aux else None
        self._zeros, self._zeros_size = FoldCache(), (0, 0)

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{modality: B x C x H x W} -> {modality: its expert's output on the padded image, B x 32 x H x W}."""
        return {m: self.experts[m](pad_to_multiple(images[m])) for m in self.names(images)}

    def _experts_of_zeros(self, height: int, width: int) -> dict[str, Tensor]:
        """Every expert's output on an image of zeros, 1 x 32 x H x W; only the last size is kept."""
        if (height, width) != self._zeros_size:
            self._zeros.clear()
            self._zeros_size = (height, width)
        sources = [*self.experts.parameters(), *self.experts.buffers()]
        return self._zeros.get(
            sources,
            lambda: {
                m: self.experts[m](sources[0].new_zeros(1, c, height, width))
                for m, c in self.channels.items()
            },
        )

    def _complete(self, encoded: Mapping[str, Tensor], present: Present | None) -> Tensor:
        """X: every modality's expert output along the channels, those of zeros where it is missing."""
        like = encoded[self.names(encoded)[0]]
        if present is None and len(encoded) == len(self.modalities):
            return torch.cat([encoded[m] for m in self.modalities], 1)
        zeros = {m: x.to(like.dtype) for m, x in self._experts_of_zeros(*like.shape[-2:]).items()}
        parts = []
        for m, zero in zeros.items():
            if m not in encoded:
                parts.append(zero.expand_as(like))
            elif present is None:
                parts.append(encoded[m])
            else:
                parts.append(torch.where(present[m][:, None, None, None], encoded[m], zero))
        return torch.cat(parts, 1)

    def fuse(
        self, encoded: Mapping[str, Tensor], present: Present | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Logits of a subset; arguments and results as `MuSSNetwork.fuse`, `features` are the backbone's maps."""
        fused, guidance = self.matching(self._complete(encoded, present))
        maps = self.encoder.pyramid_of(fused)
        extras: dict[str, Any] = {"features": maps}
        if self.training and self.aux is not None:
            extras["aux"] = self.aux(maps[AUX_SCALE])
        return self.head(maps) if guidance is None else self.head(maps, guidance), extras

    def forward_train(
        self, images: Mapping[str, Tensor], present: Present
    ) -> tuple[Tensor, Tensor | None]:
        """Logits and auxiliary logits (None without that head), B x K x H x W; `present` as for `fuse`."""
        given = blacken(images, present, self.channels)
        return at_image_size(self.fuse(self.encode(given)), given)
