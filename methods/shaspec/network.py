"""The ShaSpec network: one shared and M specific encoders, residual fusion, generated features.

H. Wang et al., "Multi-modal Learning with Missing Modality via Shared-Specific Feature Modelling",
CVPR 2023, arXiv 2307.14126. Written from an analysis of the released 3-D code (billhhh/ShaSpec, no
licence), of which nothing is copied. Changed: two dimensions, any number of modalities with any
channels, exclusive classes, per-sample masks.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from methods.parts.backbones import pad_to_multiple
from methods.parts.conv_unet import WIDTHS
from methods.parts.network import AnyModalityNetwork, Fused, Present, all_present, as_mask
from methods.shaspec.full import ResidualEncoder, SkipDecoder
from methods.shaspec.layers import StandardisedConv
from methods.shaspec.light import LightDecoder, LightEncoder
from usererror import UserError

PUBLISHED = "resnet50_w64"
LIGHT = "pyramid"
Missing = Literal["mean", "first"]


class Entry(NamedTuple):
    """A modality's part: r, f (B, C, h, w), its `skips`, and `vector` (B, C) for the classifier."""

    shared: Tensor
    fused: Tensor
    skips: list[Tensor]
    vector: Tensor


def repeat_channels(image: Tensor, channels: int) -> Tensor:
    """(B, c, H, W) -> (B, `channels`, H, W), the channels repeated in turn; without parameters."""
    if image.shape[1] == channels:
        return image
    return image[:, torch.arange(channels, device=image.device) % image.shape[1]]


def stem_width(backbone: str) -> int:
    """Read the width of the encoders' stem: w of `resnet50_w<w>`, 0 of `pyramid`."""
    if backbone == LIGHT:
        return 0
    width = backbone.removeprefix("resnet50_w")
    if width == backbone or not width.isdecimal() or int(width) == 0 or int(width) % 2:
        raise UserError(
            f"ShaSpec has no backbone {backbone!r}: it is {PUBLISHED} or another even width, as "
            f"resnet50_w16, or {LIGHT}, the thin encoders of mmFormer."
        )
    return int(width)


class ShaSpecNetwork(AnyModalityNetwork):
    """The published structure, or the light one with mmFormer's encoders and decoder.

    Args:
        backbone: see `stem_width`.
        missing: the feature of a missing modality is the `mean` of the available shared features
            (paper eq. 4) or that of the `first` available modality (as released, dossier S1).
        pooling_norm: see `full.ASPP`; no concern of `pyramid`.
    """

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        backbone: str = PUBLISHED,
        missing: Missing = "mean",
        pooling_norm: bool = False,
    ) -> None:
        super().__init__(modalities)
        if missing not in ("mean", "first"):
            raise UserError(f"ShaSpec's missing {missing!r} is neither mean nor first.")
        width = stem_width(backbone)
        self.missing = missing
        # the shared encoder takes every modality, hence the widest
        self.channels = max(modalities.values())
        count, inner = len(self.modalities), 4 * width if width else WIDTHS[-1]
        encoders: list[nn.Module] = []
        for channels in (self.channels, *modalities.values()):
            if width:
                encoders.append(ResidualEncoder(channels, width, pooling_norm))
            else:
                encoders.append(LightEncoder(channels))
        self.shared, self.specific = encoders[0], nn.ModuleList(encoders[1:])
        # the "linear projection" of eq. 2 is a 3x3 convolution in the code (dossier S6)
        self.fusion: nn.Module
        self.decoder: SkipDecoder | LightDecoder
        if width:
            self.fusion = StandardisedConv(2 * inner, inner, 3)
            self.decoder = SkipDecoder(count, num_classes, width)
        else:
            self.fusion = nn.Conv2d(2 * inner, inner, 3, padding=1, bias=False)
            self.decoder = LightDecoder(count, num_classes)
        self.stride = self.decoder.stride
        self.classifier = nn.Linear(inner, count)

    def encoding_modules(self) -> list[nn.Module]:
        """See the base class."""
        return [self.shared, *self.specific]

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Entry]:
        """All that one modality alone determines: eqs. 1 and 2, and its part of the skips."""
        names = self.ordered_names(images)
        sides = self.decoder.multiple, self.decoder.at_least
        padded = [pad_to_multiple(images[m], *sides) for m in names]
        shared = self.shared(torch.cat([repeat_channels(image, self.channels) for image in padded]))
        indices = [self.modalities.index(m) for m in names]
        pairs = zip(indices, padded, strict=True)
        specific = [self.specific[index](image) for index, image in pairs]
        # eq. 2: f = r + projection of (r, s)
        joined = torch.cat([shared.output, torch.cat([part.output for part in specific])], 1)
        fused = (shared.output + self.fusion(joined)).chunk(len(names))
        outputs = shared.output.chunk(len(names))
        maps = zip(*(features.chunk(len(names)) for features in shared.maps), strict=True)
        skips = [
            self.decoder.skip_parts(index, own) for index, own in zip(indices, maps, strict=True)
        ]
        vectors = [part.vector for part in specific]
        return dict(zip(names, map(Entry, outputs, fused, skips, vectors), strict=True))

    def _generated(self, features: Sequence[Tensor], flags: Sequence[Tensor]) -> Tensor:
        """Generate missing modalities' feature (B, C, h, w) from the shared ones (eq. 4)."""
        if self.missing == "mean":
            pairs = zip(features, flags, strict=True)
            total: Any = sum(torch.where(flag, feature, 0.0) for feature, flag in pairs)
            return total / sum(flag.int() for flag in flags)
        # released: the first available modality stands for all missing ones (dossier S1)
        result = features[-1]
        for feature, flag in zip(features[-2::-1], flags[-2::-1], strict=True):
            result = torch.where(flag, feature, result)
        return result

    def _absent_skips(self, like: Tensor) -> list[list[Tensor]]:
        """See `SkipDecoder.absent_skips`; `like` is the finest skip of some modality."""
        sides = [side * self.stride for side in like.shape[-2:]]
        weight = self.classifier.weight
        return self.decoder.absent_skips(self.shared, weight.new_zeros(1, self.channels, *sides))

    def fuse(self, encoded: Mapping[str, Entry], present: Present | None = None) -> Fused:
        """Predict padded logits at `stride` (eq. 3); extras: `features`, the M maps decoded."""
        names = self.ordered_names(encoded)
        everywhere = torch.ones(1, dtype=torch.bool, device=self.classifier.weight.device)
        flags = {m: as_mask(everywhere if present is None else present[m]) for m in names}
        generated = self._generated([encoded[m].shared for m in names], list(flags.values()))
        whole = all_present(names, present)
        # an encoding of zeros stands for what is missing; it costs a pass of the shared encoder
        complete = whole and len(names) == len(self.modalities)
        absent = [] if complete else self._absent_skips(encoded[names[0]].skips[0])
        features, skips = [], []
        for index, m in enumerate(self.modalities):
            if m not in flags:
                features.append(generated)
                skips.append(absent[index])
                continue
            entry = encoded[m]
            features.append(torch.where(flags[m], entry.fused, generated))
            if complete:
                skips.append(entry.skips)
                continue
            pairs = zip(entry.skips, absent[index], strict=True)
            skips.append([torch.where(flags[m], own, other) for own, other in pairs])
        # the skips' 1x1 convolution is linear, so its parts add up
        totals = [sum(parts) for parts in zip(*skips, strict=True)]
        return self.decoder(features, totals), {"features": features}
