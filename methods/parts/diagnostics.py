"""What a method can show of itself: named feature maps, and modalities that it generates."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class SynthesisesModalities(Protocol):
    """A method that generates the missing modalities themselves."""

    # largest absolute z-score that `synthesise` returns
    synthesis_reach: float

    def synthesise(self, encoded: Mapping[str, Any], size: Sequence[int]) -> dict[str, Tensor]:
        """Generate what is missing from `encoded` alone, {modality: z-scores (B, C, H, W)}."""
        ...


def name_feature_maps(
    fused: Sequence[Tensor], single: Mapping[str, Sequence[Tensor]]
) -> dict[str, Tensor]:
    """Name feature maps by kind, modality and scale, the finest scale first.

    Example:
        >>> import torch
        >>> maps = [torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 4, 4)]
        >>> list(name_feature_maps(maps, {"rgb": maps[:1]}))
        ['fused/1', 'fused/2', 'features/rgb/1']

    Args:
        fused: (B, C_i, h_i, w_i) after the fusion; empty for a method without such maps.
        single: {modality: (B, C_i, h_i, w_i) per scale} before it.
    """
    named = {f"fused/{scale}": maps for scale, maps in enumerate(fused, 1)}
    for m, pyramid in single.items():
        named |= {f"features/{m}/{scale}": maps for scale, maps in enumerate(pyramid, 1)}
    return named
