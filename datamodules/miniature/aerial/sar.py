"""Radar pictures of painted scenes: dark roads, bright walls, shadows behind them, and speckle."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.miniature.aerial.canvas import BUILDING, MATERIALS
from datamodules.miniature.aerial.scene import Scene
from datamodules.miniature.aerial.sensors import Light, cast_shadows

# smooth ground throws the pulse away; rubble, crowns and metal send it back
BACKSCATTER_DB = {
    "asphalt": -11.2, "paving": -10.2, "brick": -10.2, "mossy": -10.2, "turf": -9.0, "soil": -8.5,
    "water": -16.0, "pool": -15.0, "lawn": -8.8, "dry_lawn": -8.8, "meadow": -8.5,
    "foliage": -7.4, "bitumen": -8.3, "gravel": -7.6, "tile": -7.7, "metal": -6.2,
    "lacquer": -6.0, "glass": -9.0, "junk": -6.0,
}  # fmt: skip
LOOKS = 4  # independent looks averaged: speckle of intensity follows a gamma law of this shape
SHADOW = 0.25  # what is left where no pulse arrives: noise and spill
WALL_M = 2.0  # lower steps send nothing back


def radar_backscatter(
    scene: Scene, sensor: float, incidence: float, speckle: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the linear backscatter of `scene`, float32 `(H, W)`, never negative.

    `sensor` is its azimuth seen from the ground, radians clockwise from north; `incidence` the
    angle between pulse and vertical, radians; `speckle` standard normal noise `(2 * LOOKS, H, W)`.
    """
    quiet = 10 ** (np.array([BACKSCATTER_DB[m.name] for m in MATERIALS]) / 10)
    # a sensor lights the scene as a sun does, but leaves less in its shadows
    pulse = Light(sensor, np.pi / 2 - incidence, np.ones(4), np.zeros(4))
    lit = 1 - (1 - SHADOW) * cast_shadows(scene, pulse)
    intensity = quiet[scene.material] * lit + _walls(scene, sensor, incidence)
    # neighbouring pixels share some speckle; 0.742 is what the filter leaves of a deviation of 1
    looks = (ndimage.gaussian_filter(speckle, (0, 0.45, 0.45)) / 0.742) ** 2
    return (intensity * looks.mean(axis=0)).astype(np.float32)


def _walls(scene: Scene, sensor: float, incidence: float) -> NDArray[np.float64]:
    """Return what walls facing the sensor add: their corner with the ground, and the wall itself.

    The wall is laid over the ground before it, since its top is nearer to the sensor than its foot.
    """
    height = np.where(scene.label == BUILDING, scene.height, 0.0)  # crowns are no corners
    added = np.zeros_like(height)
    towards = np.array([-np.cos(sensor), np.sin(sensor)])  # rows go south, columns east
    reach = int(np.ceil(float(height.max()) / np.tan(incidence) / scene.gsd)) + 1
    for step in range(1, min(reach, 30) + 1):
        away = -step * towards
        behind = ndimage.shift(height, -away, order=0, mode="nearest")
        nearer = ndimage.shift(height, -(away + towards), order=0, mode="nearest")
        wall = np.clip(behind - nearer, 0, None)  # a step up, `step` pixels behind this one
        wall[wall < WALL_M] = 0
        if step == 1:
            added += 0.30 * np.sqrt(wall)
        tall_enough = (wall > 0) & (wall / np.tan(incidence) >= step * scene.gsd)
        added += 0.12 * (tall_enough & (scene.height < WALL_M))
    return added
