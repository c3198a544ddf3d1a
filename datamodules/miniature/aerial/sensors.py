"""Lights a painted scene and takes its pictures: red, green, blue, near infrared, and a surface model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.miniature.aerial.canvas import CAR, MATERIALS, TREE
from datamodules.miniature.aerial.scene import Scene


@dataclass(frozen=True)
class Light:
    """One flight: where the sun stands (rad), and what air and camera do to the counts of the four bands."""

    azimuth: float
    elevation: float
    gain: NDArray[np.float64]
    haze: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Light:
        """Draw the light of one tile: sun in the south-east to south-west, 40-58 degrees high."""
        brightness = 1.12 * np.exp(rng.normal(0, 0.05))
        gain = brightness * np.exp(rng.normal(0, [0.02, 0.015, 0.03, 0.04]))
        haze = rng.uniform(0, 10) * np.array([0.7, 0.9, 1.2, 0.2])
        return cls(np.radians(rng.uniform(130, 230)), np.radians(rng.uniform(40, 58)), gain, haze)


def take_orthophoto(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the orthophoto of `scene` (4 x H x W uint8: red, green, blue, near infrared)."""
    light = Light.draw(rng)
    surface = scene.reflectance * _texture(scene, rng)
    sunlit = (1 - cast_shadows(scene, light)) * _slant(scene, light)
    sky = np.array([0.42, 0.46, 0.53, 0.36])[
        :, None, None
    ]  # the sky lights shadows, and blue most of all
    image = surface * (sky + (1 - sky) * sunlit)
    image = ndimage.gaussian_filter(image, (0, 0.55, 0.55))
    image = image * light.gain[:, None, None] + light.haze[:, None, None]
    image += rng.normal(0, 1, image.shape) * np.array([2.2, 2.2, 2.4, 3.0])[:, None, None]
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _texture(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return factors around 1 (4 x H x W) of grain and mottle, nearly the same in all bands."""
    shape = scene.label.shape

    def noise(sigma: float) -> NDArray[np.float64]:
        field = ndimage.gaussian_filter(rng.normal(0, 1, shape), sigma)
        return field / max(float(field.std()), 1e-9)

    grain = np.array([material.grain for material in MATERIALS])[scene.material]
    mottle = np.array([material.mottle for material in MATERIALS])[scene.material]
    common = grain * noise(0.6) + mottle * noise(1.5 / scene.gsd / 3)
    bands = np.stack([common + 0.35 * mottle * noise(1.5) for _ in range(4)])
    return np.clip(1 + bands, 0.3, 1.8).astype(np.float32)


def cast_shadows(scene: Scene, light: Light) -> NDArray[np.float32]:
    """Return how much of the direct sun is blocked (H x W, 0-1), by marching from every pixel towards the sun."""
    height = scene.height
    rise = scene.gsd * np.tan(light.elevation)
    blocked = np.zeros_like(height)
    steps = min(int(np.ceil(float(height.max()) / rise)), max(height.shape))
    for step in range(1, steps + 1):
        down = round(-step * np.cos(light.azimuth))
        right = round(step * np.sin(light.azimuth))
        here = _shifted(height, down, right) - step * rise
        np.maximum(blocked, here - height, out=blocked)
    return np.clip(blocked / 0.4, 0, 1)


def _shifted(values: NDArray[np.float32], down: int, right: int) -> NDArray[np.float32]:
    """Return values[row + down, column + right], edge pixels repeated."""
    rows = np.clip(np.arange(values.shape[0]) + down, 0, values.shape[0] - 1)
    columns = np.clip(np.arange(values.shape[1]) + right, 0, values.shape[1] - 1)
    return values[rows][:, columns]


def _slant(scene: Scene, light: Light) -> NDArray[np.float64]:
    """Return the light a slanted surface gets relative to flat ground (H x W), walls left out."""
    down, right = (
        np.clip(slope, -1.2, 1.2) for slope in np.gradient(scene.height.astype(float), scene.gsd)
    )
    towards = down * np.cos(light.azimuth) - right * np.sin(light.azimuth)
    lit = (
        (np.tan(light.elevation) + towards)
        / np.tan(light.elevation)
        / np.sqrt(1 + down**2 + right**2)
    )
    return np.clip(lit, 0.15, 1.6)


def surface_model(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return measured heights above ground (H x W float32, m): matched images blur edges, lose cars, and add noise."""
    height = scene.height.astype(float)
    pieces, number = ndimage.label(scene.label == CAR)
    kept = np.concatenate(
        [[1.0], np.clip(rng.normal(0.95, 0.15, number), 0, 1)]
    )  # what moves between images fades

    def noise(sigma: float) -> NDArray[np.float64]:
        field = ndimage.gaussian_filter(rng.normal(0, 1, height.shape), sigma)
        return field / max(float(field.std()), 1e-9)

    rough = np.array([0.07, 0.32, 0.10, 0.32, 0.10, 0.10])[scene.label]
    crowns = np.clip(0.85 + 0.12 * noise(4.0), 0.5, 1)  # bare twigs let the match slip through
    height *= kept[pieces] * np.where(scene.label == TREE, crowns, 1)
    height = ndimage.gaussian_filter(height + rough * noise(1.5), 1.2)
    lost = np.clip(
        2 * noise(6.0) - 3.0, 0, 1
    )  # here matching failed, and the gap is filled from around it
    height += lost * (ndimage.gaussian_filter(height, 8.0) - height)
    height += 0.05 * noise(0.4) + 0.08 * noise(1.0) + 0.12 * noise(3.0) + 0.12 * noise(8.0)
    return height.astype(np.float32)
