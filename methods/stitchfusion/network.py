"""The StitchFusion networks: streams through one encoder, with or without adapters, and fusion.

B. Li et al., "StitchFusion: Weaving Any Visual Modalities to Enhance Multimodal Semantic
Segmentation", arXiv 2408.01343, with the fusion block of MMSFormer (M. K. Reza et al., arXiv
2309.04001). Written from an analysis of the released code, of which nothing is copied. Changed:
PVT-v2 and ResNet encoders, rules for what is missing, per-sample masks.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from methods.parts.backbones import STRIDES, pad_to_multiple, to_three_channels
from methods.parts.kernel_folding import FoldCache
from methods.parts.modality_dropout import on_host
from methods.parts.network import (
    Fused,
    Present,
    SharedEncoderNetwork,
    all_present,
    as_mask,
    complete_entries,
)
from methods.stitchfusion.adapters import Layout
from methods.stitchfusion.fusion import FusionBlock
from methods.stitchfusion.stitched_encoder import Stitches
from usererror import UserError

Absent = Literal["zeros", "drop"]


class PlainStreams(SharedEncoderNetwork):
    """One encoder for all modalities and a fusion block per scale; the streams do not meet before.

    Args:
        modalities: name -> channels.
        absent: a missing modality is an image of `zeros` (the training mean), or its maps are zero
            in the fusion blocks (`drop`).
        **options: of encoder and head, see `SharedEncoderNetwork`.
    """

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        absent: Absent = "zeros",
        **options: Any,
    ) -> None:
        super().__init__(modalities, **options)
        if absent not in get_args(Absent):
            raise UserError(f"StitchFusion's absent {absent!r} is neither zeros nor drop.")
        self.channels, self.absent = dict(modalities), absent
        self.encoder = self.make_encoder()
        count, widths = len(self.modalities), self.encoder.channels
        self.fusion: Any = nn.ModuleList(FusionBlock(count, width) for width in widths)
        self.head = self.make_head(num_classes)
        self._blank = FoldCache()

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Any]:
        """Encode each modality by itself: its parts of the fusion, four (B, C_s, h_s, w_s)."""
        encoded = {}
        for m, maps in self.encoder({m: images[m] for m in self.ordered_names(images)}).items():
            index, parts = self.modalities.index(m), []
            for block, features in zip(self.fusion, maps, strict=True):
                parts.append(block.part(index, features))
            encoded[m] = parts
        return encoded

    def _sum_parts(self, encoded: Mapping[str, Any], present: Present | None) -> list[Tensor]:
        """Sum per scale what the present modalities add to the fusion, (B, C_s, h_s, w_s)."""
        totals: list[Any] = [0.0] * len(self.fusion)
        for m, parts in encoded.items():
            for scale, part in enumerate(parts):
                if present is not None:
                    part = torch.where(as_mask(present[m]), part, 0.0)
                totals[scale] = totals[scale] + part
        return totals

    def _encode_zeros(self, sides: tuple[int, int]) -> dict[str, Any]:
        """Encode an image of zeros as every modality; kept between calls; `sides` at stride 4."""
        sources = [*self.encoder.parameters(), *self.encoder.buffers()]
        sources += [block.merge.weight for block in self.fusion]

        def make_entries() -> dict[str, Any]:
            height, width = (STRIDES[0] * side for side in sides)
            blank = sources[0].new_zeros(1, 3, height, width)
            return self.encode(dict.fromkeys(self.modalities, blank))

        return self._blank.get(sources, make_entries, sides)

    def fuse(self, encoded: Mapping[str, Any], present: Present | None = None) -> Fused:
        """Predict padded logits (B, K, H/4, W/4); extras: `features`, the four fused maps."""
        names = self.ordered_names(encoded)
        given = {m: encoded[m] for m in names}
        missing = len(names) < len(self.modalities) or present is not None
        if self.absent == "zeros" and missing:
            first = given[names[0]]
            like = first if isinstance(first, Tensor) else first[0]
            height, width = like.shape[-2:]
            given = complete_entries(given, self._encode_zeros((height, width)), present)
            present = None
        totals = self._sum_parts(given, present)
        features = [block.finish(total) for block, total in zip(self.fusion, totals, strict=True)]
        return self.head(features), {"features": features}

    def fuse_shown(self, images: Mapping[str, Tensor], present: Present) -> Fused:
        """As `encode` and `fuse`, for training: images that are not present are not looked at.

        With `zeros` they are zero instead.
        """
        if self.absent == "zeros":
            return self.fuse(self.encode_blanked(images, present, self.channels))
        return self.fuse(self.encode_present(images, present), present)


class StitchedStreams(PlainStreams):
    """Adapters in every block of the encoder let the streams meet.

    An entry of `encode` is the first patch embedding (PVT-v2) or the stem (ResNet). With `drop`
    only the streams, and of a batch the rows, that are present pass the encoder.

    Args:
        parallel: all adapters of a step read what the streams hold before it, which knows no
            order; else they act stream after stream, in the configured order of modalities.
        **options: as `PlainStreams`.
    """

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        parallel: bool,
        **options: Any,
    ) -> None:
        super().__init__(modalities, num_classes, **options)
        self.stitches = Stitches(self.encoder.pyramid, len(self.modalities), parallel)

    def encoding_modules(self) -> list[nn.Module]:
        """None: the encoder is run step by step, never as a whole."""
        return []

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Any]:
        """Embed each modality by itself, (B, C, H/4, W/4)."""
        names = self.ordered_names(images)
        rows = [to_three_channels(images[m]) for m in names]
        packed = self.stitches.embed(self.encoder.pyramid, pad_to_multiple(torch.cat(rows)))
        return dict(zip(names, packed.split([len(image) for image in rows]), strict=True))

    def stream_maps(
        self, encoded: Mapping[str, Tensor], present: Present | None = None
    ) -> tuple[list[Tensor], Layout]:
        """Run the streams of what is present: four packed maps (rows, C_s, h_s, w_s)."""
        names = self.ordered_names(encoded)
        first = encoded[names[0]]
        masks = []
        if present is not None and not all_present(names, present):
            masks = [on_host(present)[m] for m in names]
        members = [self.modalities.index(m) for m in names]
        layout = Layout(members, len(first), masks, first.device)
        packed = layout.pack([encoded[m] for m in names])
        maps = self.stitches.run(self.encoder.pyramid, packed, layout)
        if self.encoder.reduction is not None:
            pairs = zip(self.encoder.reduction, maps, strict=True)
            maps = [layer(features) for layer, features in pairs]
        return maps, layout

    def _sum_parts(self, encoded: Mapping[str, Any], present: Present | None) -> list[Tensor]:
        maps, layout = self.stream_maps(encoded, present)
        totals: list[Any] = []
        for block, packed in zip(self.fusion, maps, strict=True):
            total = None
            streams = zip(layout.members, packed.split(layout.counts), strict=True)
            for place, (index, features) in enumerate(streams):
                total = layout.add_to_samples(total, block.part(index, features), place)
            totals.append(total)
        return totals
