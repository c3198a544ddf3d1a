"""Lights a painted scene and takes its pictures: red, green, blue, near infrared, and a surface model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.miniature.scene import Scene


def photograph(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the orthophoto of `scene` (4 x H x W uint8: red, green, blue, near infrared)."""
    image = scene.reflectance + rng.normal(0, 4, scene.reflectance.shape)
    return np.clip(np.rint(ndimage.gaussian_filter(image, (0, 0.6, 0.6))), 0, 255).astype(np.uint8)


def surface_model(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return measured heights above ground (H x W float32, m)."""
    return (ndimage.gaussian_filter(scene.height, 0.7) + rng.normal(0, 0.15, scene.height.shape)).astype(np.float32)
