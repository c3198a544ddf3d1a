"""The MAGIC network: shared encoder and head, aggregation (MAM), in training selection (ASM).

MAGIC, X. Zheng, Y. Lyu, J. Zhou, L. Wang, ECCV 2024, arXiv 2407.11344. Written from an analysis of
the paper and of the same authors' published research modules; no code of MAGIC itself was
available.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from methods.magic.aggregation import Aggregation, PhiInit, PhiKind, mean_of_present
from methods.magic.selection import Selection, cosine_similarities, pick_modality, select_modalities
from methods.parts.heads import to_image_size
from methods.parts.network import Fused, Present, SharedEncoderNetwork
from usererror import UserError

Level = Literal["logits", "features"]


class Encoded(NamedTuple):
    """All of one modality: one map (B, K, H/4, W/4) at level logits, four at level features.

    Attributes:
        maps: gated f_m, read by ASM; empty in eval mode.
        votes: phi_m(f_m), whose mean over modalities is f_se; empty where `linear` stands for them.
        linear: the head's affine part of the votes, (B, E, H/4, W/4) (features, eval mode).
    """

    maps: list[Tensor]
    votes: list[Tensor]
    linear: Tensor | None


class Branches(NamedTuple):
    """A training step; `selected` and `selection` are None when only one modality is given.

    Attributes:
        main: logits of f_se, (B, K, H, W).
        modalities: the order of the axes of length M.
        maps: per scale the gated f_m, (M, B, C, H_i, W_i).
    """

    main: Tensor
    selected: Tensor | None
    modalities: list[str]
    maps: list[Tensor]
    fused: list[Tensor]
    salient: list[Tensor]
    selection: Selection | None


class MAGICNetwork(SharedEncoderNetwork):
    """Aggregate on the head's logits (K channels at stride 4) or on features (before the head).

    Args:
        phi_hidden: width of the scalar MLPs (level logits).
        phi_init: every phi starts near the `identity`, or as `pytorch` starts its layers.
    """

    def __init__(
        self,
        modalities: Iterable[str],
        num_classes: int,
        level: Level = "logits",
        mam_kernel: int = 7,
        mam_pools: tuple[int, ...] = (3, 7, 11),
        phi_hidden: int = 8,
        phi_init: PhiInit = "identity",
        **options: Any,
    ) -> None:
        super().__init__(modalities, **options)
        if level not in get_args(Level):
            raise UserError(f"level {level!r} is none of {', '.join(get_args(Level))}.")
        self.on_logits = level == "logits"
        self.encoder = self.make_encoder()
        self.head = self.make_head(num_classes)
        kind: PhiKind = "scalar" if self.on_logits else "mixing"
        own = (self.modalities, kind, mam_kernel, mam_pools, phi_hidden, phi_init)
        widths = (num_classes,) if self.on_logits else self.encoder.channels
        self.mam = nn.ModuleList(Aggregation(width, *own) for width in widths)

    def _inputs(self, images: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
        """Compute what MAM works on: {modality: [logits] or four feature maps}."""
        pyramids = self.encoder({m: images[m] for m in self.ordered_names(images)})
        if not self.on_logits:
            return pyramids
        if not self.training:
            # the same as one batch of all modalities, but it stays in the processor's cache
            return {m: [self.head(maps)] for m, maps in pyramids.items()}
        # the paper's head sees all modalities as one batch
        packed = [torch.cat(maps) for maps in zip(*pyramids.values(), strict=True)]
        parts = self.head(packed).split([len(maps[0]) for maps in pyramids.values()])
        return {m: [part] for m, part in zip(pyramids, parts, strict=True)}

    def _encode(self, images: Mapping[str, Tensor]) -> dict[str, Encoded]:
        """Encode with every map kept."""
        encoded = {}
        for m, inputs in self._inputs(images).items():
            maps, votes = [], []
            scale: Any
            for scale, given in zip(self.mam, inputs, strict=True):
                maps.append(scale.gate(given))
                votes.append(scale.phi[m](maps[-1]))
            encoded[m] = Encoded(maps, votes, None)
        return encoded

    def _mean_votes(self, entries: Sequence[Encoded], mask: Tensor | None) -> list[Tensor]:
        per_scale = zip(*(entry.votes for entry in entries), strict=True)
        return [mean_of_present(votes, mask) for votes in per_scale]

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Encoded]:
        """Everything that one modality alone determines; in eval mode only what a subset needs."""
        encoded = self._encode(images)
        if self.training:
            return encoded
        if self.on_logits:
            return {m: Encoded([], one.votes, None) for m, one in encoded.items()}
        return {m: Encoded([], [], self.head.mix_scales(one.votes)) for m, one in encoded.items()}

    def fuse(self, encoded: Mapping[str, Encoded], present: Present | None = None) -> Fused:
        """Predict padded logits (B, K, H/4, W/4); the extra `fused` is the mean of the votes."""
        names = self.ordered_names(encoded)
        mask, entries = self.stack_present(names, present), [encoded[m] for m in names]
        if entries[0].linear is not None:
            # the mean commutes with the head's affine part: here the extras hold no f_se
            linear = [entry.linear for entry in entries if entry.linear is not None]
            total = mean_of_present(linear, mask)
            logits = self.head.classify_mixed(self.head.activate_mixed(total))
            return logits, {"modalities": names, "fused": []}
        fused = self._mean_votes(entries, mask)
        logits = fused[0] if self.on_logits else self.head(fused)
        return logits, {"modalities": names, "fused": fused}

    def forward_train(
        self, images: Mapping[str, Tensor], present: Present | None = None
    ) -> Branches:
        """The main branch and the selection branch of a training step; for `present` see `fuse`."""
        size = next(iter(images.values())).shape[-2:]
        encoded = self.encode_present(images, present, self._encode)
        names = self.ordered_names(encoded)
        if len(names) == 1:
            logits, extras = self.fuse(encoded, present)
            return Branches(to_image_size(logits, size), None, names, [], extras["fused"], [], None)
        mask, entries = self.stack_present(names, present), [encoded[m] for m in names]
        fused = self._mean_votes(entries, mask)
        maps = [torch.stack(scale) for scale in zip(*(one.maps for one in entries), strict=True)]
        chosen = select_modalities(cosine_similarities(fused, maps), mask)
        salient = []
        scale: Any
        for scale, given in zip(self.mam, maps, strict=True):
            top = scale.salient["top"](pick_modality(given, chosen.top))
            salient.append(top + scale.salient["last"](pick_modality(given, chosen.last)))
        if self.on_logits:
            main, selected = fused[0], salient[0]
        else:
            pairs = [torch.cat(pair) for pair in zip(fused, salient, strict=True)]
            main, selected = self.head(pairs).chunk(2)
        main, selected = to_image_size(main, size), to_image_size(selected, size)
        return Branches(main, selected, names, maps, fused, salient, chosen)
