"""The MAGIC network in plain torch: shared encoder and head, aggregation (MAM), in training the selection (ASM).

MAGIC, X. Zheng, Y. Lyu, J. Zhou, L. Wang, ECCV 2024, arXiv 2407.11344. Written from an analysis of the paper and of the
same authors' published research modules; no code of MAGIC itself was available.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from methods.magic.aggregation import Aggregation, PhiInit, mean_of_present
from methods.magic.selection import Selection, pick, select, similarities
from methods.parts.backbones import SharedEncoder
from methods.parts.heads import AllMLPHead, to_image_size
from methods.parts.network import AnyModalityNetwork
from usererror import UserError

Present = Mapping[str, Tensor]
Level = Literal["logits", "features"]


class Encoded(NamedTuple):
    """All of one modality; one map (B x K x H/4 x W/4) at level logits, four (B x C_i x H_i x W_i) at features."""

    maps: list[Tensor]  # gated f_m, read by ASM; empty in eval mode
    votes: list[
        Tensor
    ]  # phi_m(f_m), whose mean over modalities is f_se; empty where `linear` takes their place
    linear: (
        Tensor | None
    )  # B x E x H/4 x W/4: the head's affine part of the votes (features, eval mode)


class Branches(NamedTuple):
    """A training step."""

    main: Tensor  # logits of f_se, B x K x H x W
    selected: (
        Tensor | None
    )  # logits of f_sa; None, as the rest below, when only one modality is given
    modalities: list[str]  # the order of the axes of length M
    maps: list[Tensor]  # per scale the gated f_m, M x B x C x H_i x W_i
    fused: list[Tensor]  # per scale f_se
    salient: list[Tensor]  # per scale f_sa
    selection: Selection | None


class MAGICNetwork(AnyModalityNetwork):
    """MAGIC with the aggregation on the head's logits, as its published size implies, or on the encoder's features.

    Args:
        modalities: names, in the dataset's order.
        num_classes: K.
        backbone: timm model with maps at strides 4, 8, 16, 32.
        pretrained: ImageNet weights for the encoder.
        pretrained_path: weight file instead of the cache.
        reduction: widths of 1x1 convolutions after the encoder; `auto` only where it is wider than PVT.
        level: MAM acts on `logits` (K channels at stride 4) or on `features` (every scale, before the head).
        mam_kernel: depthwise kernel of MAM's gate.
        mam_pools: average pools of the gate.
        phi_hidden: width of the scalar MLPs (level logits).
        phi_init: start of every phi, `identity` or `pytorch`.
        head_width: E of the all-MLP head.
        head_norm: `bn`, `syncbn` or `ln`.
        head_dropout: Dropout2d of the head.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        num_classes: int,
        backbone: str = "pvt_v2_b2",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        reduction: Sequence[int] | str | None = "auto",
        level: Level = "logits",
        mam_kernel: int = 7,
        mam_pools: Sequence[int] = (3, 7, 11),
        phi_hidden: int = 8,
        phi_init: PhiInit = "identity",
        head_width: int = 256,
        head_norm: str = "bn",
        head_dropout: float = 0.1,
    ) -> None:
        super().__init__(modalities)
        if level not in get_args(Level):
            raise UserError(f"level {level!r} is none of {', '.join(get_args(Level))}.")
        self.on_logits = level == "logits"
        self.encoder = SharedEncoder(backbone, pretrained, pretrained_path, reduction)
        self.head = AllMLPHead(
            self.encoder.channels, num_classes, head_width, head_norm, head_dropout
        )
        kind = "scalar" if self.on_logits else "mixing"
        self.mam = nn.ModuleList(
            Aggregation(width, self.modalities, kind, mam_kernel, mam_pools, phi_hidden, phi_init)
            for width in ((num_classes,) if self.on_logits else self.encoder.channels)
        )

    def _inputs(self, images: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
        """What MAM works on: {modality: [logits] or four feature maps}. In training the head sees all modalities as one
        batch, as in the paper; in eval mode one after the other is the same and stays in the processor's cache."""
        pyramids = self.encoder({m: images[m] for m in self.names(images)})
        if not self.on_logits:
            return pyramids
        if not self.training:
            return {m: [self.head(maps)] for m, maps in pyramids.items()}
        packed = [torch.cat(maps) for maps in zip(*pyramids.values(), strict=True)]
        return {
            m: [part]
            for m, part in zip(pyramids, self.head(packed).chunk(len(pyramids)), strict=True)
        }

    def _encode(self, images: Mapping[str, Tensor]) -> dict[str, Encoded]:
        """`encode` with every map kept."""
        encoded = {}
        for m, inputs in self._inputs(images).items():
            maps = [scale.gate(given) for scale, given in zip(self.mam, inputs, strict=True)]
            votes = [scale.phi[m](gated) for scale, gated in zip(self.mam, maps, strict=True)]
            encoded[m] = Encoded(maps, votes, None)
        return encoded

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Encoded]:
        """Everything that one modality alone determines; in eval mode only what a subset needs."""
        encoded = self._encode(images)
        if self.training:
            return encoded
        if self.on_logits:
            return {m: Encoded([], one.votes, None) for m, one in encoded.items()}
        return {m: Encoded([], [], self.head.mix(one.votes)) for m, one in encoded.items()}

    def _presence(self, names: Sequence[str], present: Present | None) -> Tensor | None:
        return None if present is None else torch.stack([present[m] for m in names])

    def fuse(
        self, encoded: Mapping[str, Encoded], present: Present | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Logits of a subset: the mean of its votes, through the head where they are features.

        Args:
            encoded: entries of `encode` for any non-empty subset.
            present: {modality: B bool}, which samples have it (finite values elsewhere are ignored); None = all.

        Returns:
            Logits B x K x H/4 x W/4 of the padded image, and extras: `modalities` (their order), `fused` (f_se per
            scale; empty for features in eval mode, where only the head's affine part is averaged).
        """
        names = self.names(encoded)
        mask, entries = self._presence(names, present), [encoded[m] for m in names]
        if entries[0].linear is not None:
            total = mean_of_present([one.linear for one in entries], mask)
            return self.head.classify(self.head.activate(total)), {"modalities": names, "fused": []}
        fused = [
            mean_of_present(votes, mask)
            for votes in zip(*(one.votes for one in entries), strict=True)
        ]
        return fused[0] if self.on_logits else self.head(fused), {
            "modalities": names,
            "fused": fused,
        }

    def forward_train(
        self, images: Mapping[str, Tensor], present: Present | None = None
    ) -> Branches:
        """The main branch and the selection branch of a training step; for `present` see `fuse`."""
        size = next(iter(images.values())).shape[-2:]
        encoded = self._encode(images)
        names = self.names(encoded)
        if len(names) == 1:
            logits, extras = self.fuse(encoded, present)
            return Branches(to_image_size(logits, size), None, names, [], extras["fused"], [], None)
        mask, entries = self._presence(names, present), [encoded[m] for m in names]
        fused = [
            mean_of_present(votes, mask)
            for votes in zip(*(one.votes for one in entries), strict=True)
        ]
        maps = [torch.stack(scale) for scale in zip(*(one.maps for one in entries), strict=True)]
        chosen = select(similarities(fused, maps), mask)
        salient = [
            scale.salient["top"](pick(given, chosen.top))
            + scale.salient["last"](pick(given, chosen.last))
            for scale, given in zip(self.mam, maps, strict=True)
        ]
        if self.on_logits:
            main, selected = fused[0], salient[0]
        else:
            main, selected = self.head(
                [torch.cat(pair) for pair in zip(fused, salient, strict=True)]
            ).chunk(2)
        return Branches(
            to_image_size(main, size),
            to_image_size(selected, size),
            names,
            maps,
            fused,
            salient,
            chosen,
        )
