"""Training augmentation: one geometry for all modalities and the label, colour jitter on optical modalities only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Geometry:
    """A draw of the geometric part: read `side` pixels, resize to `window`, turn and mirror."""

    side: int
    window: int
    turns: int
    mirror_columns: bool
    mirror_rows: bool

    def apply_to_image(self, pixels: Tensor) -> Tensor:
        """C x side x side float -> C x window x window, bilinear (antialiased where it shrinks)."""
        if self.side != self.window:
            pixels = functional.interpolate(
                pixels[None],
                (self.window, self.window),
                mode="bilinear",
                antialias=self.side > self.window,
            )[0]
        return self._move(pixels)

    def apply_to_mask(self, ids: Tensor) -> Tensor:
        """side x side uint8 -> window x window, nearest neighbour."""
        if self.side != self.window:
            ids = functional.interpolate(
                ids[None, None], (self.window, self.window), mode="nearest-exact"
            )[0, 0]
        return self._move(ids)

    def _move(self, raster: Tensor) -> Tensor:
        raster = torch.rot90(raster, self.turns, (-2, -1))
        flips = [dim for dim, flip in ((-1, self.mirror_columns), (-2, self.mirror_rows)) if flip]
        return torch.flip(raster, flips) if flips else raster


def random_geometry(
    rng: np.random.Generator, window: int, scale_jitter: tuple[float, float], nadir: bool
) -> Geometry:
    """A random scale, and a random mirror image; turns and upside-down only where the camera looks straight down."""
    scale = rng.uniform(*scale_jitter)
    return Geometry(
        side=max(1, round(window / scale)),
        window=window,
        turns=int(rng.integers(4)) if nadir else 0,
        mirror_columns=bool(rng.integers(2)),
        mirror_rows=bool(rng.integers(2)) if nadir else False,
    )


def color_jitter(
    rng: np.random.Generator,
    images: Mapping[str, Tensor],
    optical: Mapping[str, float],
    strength: float,
) -> dict[str, Tensor]:
    """Brightness and contrast of every optical modality, saturation of those with three bands.

    Args:
        rng: source of the draws; each modality draws its own.
        images: C x H x W in stored units.
        optical: {modality: largest storable value} of the modalities to change.
        strength: factors are uniform in [1 - strength, 1 + strength]; 0 leaves everything as it is.
    """
    result = dict(images)
    for name, top in optical.items():
        if strength == 0 or name not in images:
            continue
        brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
        pixels = images[name] * brightness
        # bands of a multispectral image differ a hundredfold: one mean for all would push the dark ones off their range
        middle = pixels.mean() if len(pixels) <= 3 else pixels.mean((-2, -1), keepdim=True)
        pixels = middle + contrast * (pixels - middle)
        if len(pixels) == 3:
            grey = pixels.mean(0, keepdim=True)
            pixels = grey + saturation * (pixels - grey)
        result[name] = pixels.clamp(0, top)
    return result
