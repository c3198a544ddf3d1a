"""Training augmentation: one geometry for all modalities and the label, colours of optical ones."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from datamodules.store.scene_store import IGNORE


@dataclass(frozen=True)
class Geometry:
    """A drawn geometric transform: read `side` pixels, resize to `window`, turn and mirror.

    `angle` turns by degrees before that; corners that come from outside repeat the inside, mirrored
    at the border, and carry no label.

    Example:
        >>> geometry = Geometry(side=2, window=2, turns=1, mirror_columns=False, mirror_rows=False)
        >>> geometry.apply_to_mask(torch.tensor([[0, 1], [2, 3]], dtype=torch.uint8)).tolist()
        [[1, 3], [0, 2]]
    """

    side: int
    window: int
    turns: int
    mirror_columns: bool
    mirror_rows: bool
    angle: float = 0.0

    def apply_to_image(self, pixels: Tensor) -> Tensor:
        """Transform `(C, side, side)` floats to `(C, window, window)`, bilinear."""
        if self.side != self.window:
            # without antialiasing, shrinking would make noise of fine texture
            shape, shrinks = (self.window, self.window), self.side > self.window
            pixels = interpolate(pixels[None], shape, mode="bilinear", antialias=shrinks)[0]
        if self.angle:
            grid = self._turned_grid()
            turned = grid_sample(pixels[None], grid, padding_mode="reflection", align_corners=False)
            pixels = turned[0]
        return self._dihedral(pixels)

    def apply_to_mask(self, ids: Tensor) -> Tensor:
        """Transform `(side, side)` ids to `(window, window)`, nearest neighbour."""
        if self.side != self.window:
            shape = (self.window, self.window)
            ids = interpolate(ids[None, None], shape, mode="nearest-exact")[0, 0]
        if self.angle:
            # counted from 1, so that the zeros from outside are no class
            counted, grid = ids[None, None].float() + 1, self._turned_grid()
            turned = grid_sample(counted, grid, mode="nearest", align_corners=False)[0, 0] - 1
            ids = torch.where(turned < 0, IGNORE, turned).to(ids.dtype)
        return self._dihedral(ids)

    def _turned_grid(self) -> Tensor:
        cosine, sine = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        matrix = torch.tensor([[[cosine, -sine, 0.0], [sine, cosine, 0.0]]])
        return affine_grid(matrix, [1, 1, self.window, self.window], align_corners=False)

    def _dihedral(self, raster: Tensor) -> Tensor:
        raster = torch.rot90(raster, self.turns, (-2, -1))
        if self.mirror_columns:
            raster = raster.flip(-1)
        return raster.flip(-2) if self.mirror_rows else raster


def random_geometry(
    rng: np.random.Generator,
    window: int,
    scale_jitter: tuple[float, float],
    nadir: bool,
    quarter_turns: bool = True,
    rotation: float = 0.0,
) -> Geometry:
    """Draw a scale and an orientation; a zoom factor of 2 reads half of `window`.

    With `nadir` the camera looks straight down, so all eight orientations of a square are natural;
    otherwise left and right may change places, nothing else. Without `quarter_turns` the four
    mirror images remain; with `rotation` every other window is turned by up to so many degrees.

    Example:
        >>> random_geometry(np.random.default_rng(0), 64, (0.5, 2.0), nadir=False).turns
        0
    """
    side = max(1, round(window / rng.uniform(*scale_jitter)))
    turns = int(rng.integers(4)) if nadir and quarter_turns else 0
    mirror_columns = bool(rng.integers(2))
    mirror_rows = bool(rng.integers(2)) if nadir else False
    # drawn last, so that windows without it stay where they were
    angle = float(rng.uniform(-rotation, rotation)) if rotation and rng.integers(2) else 0.0
    return Geometry(side, window, turns, mirror_columns, mirror_rows, angle)


def color_jitter(
    rng: np.random.Generator,
    images: Mapping[str, Tensor],
    optical: Mapping[str, float],
    strength: float,
) -> dict[str, Tensor]:
    """Jitter brightness and contrast of optical modalities, and saturation of those with 3 bands.

    `images` are `(C, H, W)` in stored units; `optical` gives the largest storable value of those to
    change. Factors are uniform in [1 - strength, 1 + strength], other ones for each modality.

    Example:
        >>> images = {"rgb": torch.full((3, 2, 2), 100.0), "dsm": torch.ones(1, 2, 2)}
        >>> jittered = color_jitter(np.random.default_rng(0), images, {"rgb": 255.0}, 0.2)
        >>> jittered["dsm"] is images["dsm"], round(float(jittered["rgb"][0, 0, 0]), 1)
        (True, 105.5)
    """
    result = dict(images)
    for name, largest in optical.items():
        if strength == 0 or name not in images:
            continue
        brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
        pixels = images[name] * brightness
        # bands of a multispectral image differ a hundredfold: a common mean would push the dark
        # ones off their range
        middle = pixels.mean() if len(pixels) <= 3 else pixels.mean((-2, -1), keepdim=True)
        pixels = middle + contrast * (pixels - middle)
        if len(pixels) == 3:
            grey = pixels.mean(0, keepdim=True)
            pixels = grey + saturation * (pixels - grey)
        result[name] = pixels.clamp(0, largest)
    return result
