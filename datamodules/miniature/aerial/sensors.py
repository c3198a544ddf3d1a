"""Lights a painted scene and takes its pictures: four bands from above, and a surface model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.miniature.aerial.canvas import CAR, MATERIALS, TREE
from datamodules.miniature.aerial.scene import Scene

# share of light from the sky, which lights shadows, and blue most of all: `(4, 1, 1)`
SKY_LIGHT = np.array([0.42, 0.46, 0.53, 0.36])[:, None, None]
CAMERA_NOISE = np.array([2.2, 2.2, 2.4, 3.0])[:, None, None]


@dataclass(frozen=True)
class Light:
    """One flight: where the sun stands (rad), and what air and camera do to the four bands."""

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


def material_property(scene: Scene, name: str) -> NDArray[np.float64]:
    """Return a property of the material under every pixel, `(H, W)`."""
    return np.array([getattr(material, name) for material in MATERIALS])[scene.material]


def _smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], sigma: float
) -> NDArray[np.float64]:
    """Draw noise that changes over `sigma` pixels, of standard deviation 1."""
    field = ndimage.gaussian_filter(rng.normal(0, 1, shape), sigma)
    return field / max(float(field.std()), 1e-9)


def take_orthophoto(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the orthophoto of `scene`, uint8 `(4, H, W)`: red, green, blue, near infrared."""
    light = Light.draw(rng)
    surface = scene.reflectance * _texture(scene, rng)
    sunlit = (1 - cast_shadows(scene, light)) * _slant(scene, light)
    image = surface * (SKY_LIGHT + (1 - SKY_LIGHT) * sunlit)
    image = ndimage.gaussian_filter(image, (0, 0.55, 0.55))
    image = image * light.gain[:, None, None] + light.haze[:, None, None]
    image += rng.normal(0, 1, image.shape) * CAMERA_NOISE
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _texture(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return factors around 1, `(4, H, W)`, of grain and mottle, nearly the same in all bands."""
    shape = scene.label.shape
    mottle = material_property(scene, "mottle")
    common = material_property(scene, "grain") * _smooth_noise(rng, shape, 0.6)
    common = common + mottle * _smooth_noise(rng, shape, 1.5 / scene.gsd / 3)
    bands = np.stack([common + 0.35 * mottle * _smooth_noise(rng, shape, 1.5) for _ in range(4)])
    return np.clip(1 + bands, 0.3, 1.8).astype(np.float32)


def cast_shadows(scene: Scene, light: Light) -> NDArray[np.float32]:
    """Return how much of the direct light is blocked, `(H, W)` in [0, 1]."""
    height = scene.height
    rise = scene.gsd * np.tan(light.elevation)
    blocked = np.zeros_like(height)
    # march from every pixel towards the sun, until the ray is above everything
    steps = min(int(np.ceil(float(height.max()) / rise)), max(height.shape))
    for step in range(1, steps + 1):
        down = round(-step * np.cos(light.azimuth))
        right = round(step * np.sin(light.azimuth))
        rows = np.clip(np.arange(height.shape[0]) + down, 0, height.shape[0] - 1)
        columns = np.clip(np.arange(height.shape[1]) + right, 0, height.shape[1] - 1)
        here = height[rows][:, columns] - step * rise
        np.maximum(blocked, here - height, out=blocked)
    return np.clip(blocked / 0.4, 0, 1)


def _slant(scene: Scene, light: Light) -> NDArray[np.float64]:
    """Return the light a slanted surface gets relative to flat ground, `(H, W)`."""
    # walls are one pixel wide: their true slope would make them black or white
    down, right = np.clip(np.gradient(scene.height.astype(float), scene.gsd), -1.2, 1.2)
    towards = down * np.cos(light.azimuth) - right * np.sin(light.azimuth)
    flat = np.tan(light.elevation)
    return np.clip((flat + towards) / flat / np.sqrt(1 + down**2 + right**2), 0.15, 1.6)


def surface_model(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return heights above ground as matched images give them, float32 `(H, W)`, m.

    Matching blurs edges, loses cars, and adds noise.
    """
    height = scene.height.astype(float)
    pieces, number = ndimage.label(scene.label == CAR)
    # what moves between two images fades; piece 0 is everything that is no car
    kept = np.concatenate([[1.0], np.clip(rng.normal(0.95, 0.15, number), 0, 1)])

    def noise(sigma: float) -> NDArray[np.float64]:
        return _smooth_noise(rng, height.shape, sigma)

    rough = np.array([0.07, 0.32, 0.10, 0.32, 0.10, 0.10])[scene.label]
    crowns = np.clip(0.85 + 0.12 * noise(4.0), 0.5, 1)  # bare twigs let the match slip through
    height *= kept[pieces] * np.where(scene.label == TREE, crowns, 1)
    height = ndimage.gaussian_filter(height + rough * noise(1.5), 1.2)
    # here matching failed, and the gap is filled from around it
    lost = np.clip(2 * noise(6.0) - 3.0, 0, 1)
    height += lost * (ndimage.gaussian_filter(height, 8.0) - height)
    height += 0.05 * noise(0.4) + 0.08 * noise(1.0) + 0.12 * noise(3.0) + 0.12 * noise(8.0)
    return height.astype(np.float32)
