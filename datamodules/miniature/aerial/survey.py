"""One painted scene and what three sensors make of it, for datasets with classes of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.miniature.aerial.canvas import MATERIALS
from datamodules.miniature.aerial.sar import LOOKS, radar_backscatter
from datamodules.miniature.aerial.scene import Scene, paint_scene
from datamodules.miniature.aerial.sensors import surface_model, take_orthophoto


@dataclass(frozen=True)
class Survey:
    """A scene and its pictures.

    `rgbn` are counts, uint8 `(4, H, W)`: red, green, blue, near infrared; `heights` metres above
    ground and `radar` linear backscatter, both float32 `(1, H, W)`.
    """

    scene: Scene
    rgbn: NDArray[np.uint8]
    heights: NDArray[np.float32]
    radar: NDArray[np.float32]

    def relabel(
        self, by_class: Mapping[int, int], by_material: Mapping[str, int]
    ) -> NDArray[np.uint8]:
        """Return raw values `(1, H, W)` by ISPRS class, and by materials, which win over it."""
        values = np.zeros_like(self.scene.label)
        for label, raw in by_class.items():
            values[self.scene.label == label] = raw
        names = [material.name for material in MATERIALS]
        for name, raw in by_material.items():
            values[self.scene.material == names.index(name)] = raw
        return values[None]


def take_survey(size: int, gsd: float, seed: Sequence[int]) -> Survey:
    """Paint a scene of `size` x `size` pixels of `gsd` metres and take its pictures.

    Example:
        >>> survey = take_survey(32, 0.5, [0, 1])
        >>> survey.rgbn.shape, survey.heights.shape, survey.radar.dtype.name
        ((4, 32, 32), (1, 32, 32), 'float32')
    """
    return survey_scene(paint_scene(size, gsd, np.random.default_rng([*seed, size, 0])), seed)


def survey_scene(scene: Scene, seed: Sequence[int]) -> Survey:
    """Take the pictures of a scene."""
    size = scene.label.shape[0]
    draw = [np.random.default_rng([*seed, size, stage]) for stage in range(1, 4)]
    rgbn, heights = take_orthophoto(scene, draw[0]), surface_model(scene, draw[1])
    speckle = draw[2].normal(0, 1, (2 * LOOKS, size, size))
    radar = radar_backscatter(scene, np.radians(80.0), np.radians(40.0), speckle)
    return Survey(scene, rgbn, heights[None], radar[None])
