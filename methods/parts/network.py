"""What the networks of all methods share: configured modalities, any non-empty subset of which is taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch.nn
from torch import Tensor

from methods.parts.heads import STRIDES, to_image_size


class AnyModalityNetwork(torch.nn.Module):
    """A subclass has `encode(images)` and `fuse(encoded, present) -> (logits at its stride, extras)`, see the base
    class of the methods.

    Args:
        modalities: names, in the dataset's order.
    """

    # of the logits that `fuse` returns, in pixels
    stride: int = STRIDES[0]
    encode: Any
    fuse: Any

    def __init__(self, modalities: Iterable[str]) -> None:
        super().__init__()
        self.modalities = tuple(modalities)

    def names(self, given: Mapping[str, Any]) -> list[str]:
        """The keys of `given` in configured order; ValueError when there is none, or one the network does not know."""
        unknown = set(given) - set(self.modalities)
        if unknown or not given:
            raise ValueError(
                f"expected a non-empty subset of {self.modalities}, got {tuple(given)}"
            )
        return [m for m in self.modalities if m in given]

    def forward(
        self, images: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Logits B x K x H x W of any non-empty subset; `present` {modality: B bool} masks samples."""
        size = next(iter(images.values())).shape[-2:]
        return to_image_size(self.fuse(self.encode(images), present)[0], size, self.stride)
