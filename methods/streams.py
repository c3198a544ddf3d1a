"""What networks with a stream per modality share: a missing one is an image of zeros.

Published for two streams. Ours, after MoBaNet's test with one sensor: any subset, masks per sample,
and as many streams as there are modalities, of which one is the main one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import AnyModalitySegmenter
from methods.parts.backbones import STRIDES, pad_to_multiple
from methods.parts.heads import to_image_size
from methods.parts.kernel_folding import FoldCache
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import SubsetRule, SubsetScope
from methods.parts.network import (
    AnyModalityNetwork,
    Fused,
    Present,
    blank_missing,
    main_modality,
)
from usererror import UserError


class StreamNetwork(AnyModalityNetwork):
    """A network in which every configured modality is a stream, whatever is missing.

    The main modality is the first with three channels, otherwise the first; it has the part of the
    optical image where that differs from the others'. A subclass implements `run_alone` and
    `fuse_streams`.
    """

    stride = 1
    # of the first map that `run_alone` returns, in pixels
    first_stride = 1
    # sides of images are padded to multiples of it
    multiple = STRIDES[-1]

    def __init__(self, modalities: Mapping[str, int]) -> None:
        super().__init__(modalities)
        self.channels = dict(modalities)
        self.main = main_modality(modalities)
        self.others = tuple(m for m in self.modalities if m != self.main)
        self._blanks = {m: FoldCache() for m in self.modalities}

    def run_alone(self, modality: str, image: Tensor) -> list[Tensor]:
        """Compute what a padded image (B, C, H, W) alone determines, the finest map first."""
        raise NotImplementedError

    def fuse_streams(self, main: list[Tensor], others: list[list[Tensor]]) -> Fused:
        """Predict from what `run_alone` returned of the main modality and of all others."""
        raise NotImplementedError

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
        """{modality: (B, C, H, W)} -> what each alone determines."""
        encoded = {}
        for m in self.ordered_names(images):
            encoded[m] = self.run_alone(m, pad_to_multiple(images[m], self.multiple))
        return encoded

    def fuse(self, encoded: Mapping[str, list[Tensor]], present: Present | None = None) -> Fused:
        """Predict logits (B, K, H, W) of the padded image from any non-empty subset."""
        given = {m: encoded[m] for m in self.ordered_names(encoded)}
        first = next(iter(given.values()))[0]
        size = (first.shape[-2] * self.first_stride, first.shape[-1] * self.first_stride)
        for m in self.modalities:
            if m in given and present is None:
                continue
            blank = [part.expand(len(first), *part.shape[1:]) for part in self._blank(m, size)]
            keep = present[m] if present is not None and m in given else None
            given[m] = blank if keep is None else _choose(keep, given[m], blank)
        return self.fuse_streams(given[self.main], [given[m] for m in self.others])

    def forward(self, images: Mapping[str, Tensor], present: Present | None = None) -> Tensor:
        """Predict logits (B, K, H, W) with images of zeros for what is missing.

        Unlike in `fuse`, the statistics of a training batch see these zeros.
        """
        whole = blank_missing(images, present, self.channels)
        size = whole[self.main].shape[-2:]
        return to_image_size(self.fuse(self.encode(whole))[0], size, self.stride)

    def _blank(self, modality: str, size: Sequence[int]) -> list[Tensor]:
        """Run one image of zeros; in eval mode kept until weights or size change."""
        sources = [*self.parameters(), *self.buffers()]

        def run_zeros() -> list[Tensor]:
            image = sources[0].new_zeros(1, self.channels[modality], *size)
            return self.run_alone(modality, image)

        return self._blanks[modality].get(sources, run_zeros, tuple(size))


class StreamSegmenter(AnyModalitySegmenter):
    """Cross-entropy of a `StreamNetwork`'s logits, with images of zeros for what a sample lacks."""

    default_loss_weights: ClassVar[dict[str, float]] = {"seg": 1.0}

    def build_network(
        self,
        pretrained: bool = True,
        subsets: SubsetRule = "full",
        subsets_per: SubsetScope = "sample",
        **network: Any,
    ) -> None:
        """Note what training shows, and build the network; published is `full`."""
        self.subsets, self.subsets_per = subsets, subsets_per
        self.set_network(pretrained=pretrained, **network)

    def set_network(self, **network: Any) -> None:
        """Set `network` from its options."""
        raise NotImplementedError

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute the cross-entropy on the drawn subset of what each sample has."""
        logits = self.network(batch["image"], self.draw_shown(batch))
        return {"seg": cross_entropy(logits, batch["mask"], self.ignore_index)}


def _choose(keep: Tensor, given: Iterable[Tensor], blank: Iterable[Tensor]) -> list[Tensor]:
    """Take of each sample the parts given where `keep` (B,) says so, else those of zeros."""
    chosen = []
    for own, zeros in zip(given, blank, strict=True):
        mask = keep.reshape(-1, *[1] * (own.ndim - 1))
        chosen.append(torch.where(mask, own, zeros))
    return chosen


def check_several(modalities: Mapping[str, int], name: str) -> None:
    """Raise a UserError where there is nothing to fuse."""
    if len(modalities) < 2:
        raise UserError(f"{name} fuses modalities: configure at least two.")
