"""Farmland over part of a painted scene, for datasets whose classes go beyond those of a suburb."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.miniature.aerial.canvas import BUILDING, INDEX, LOW_VEGETATION, MATERIALS, TREE
from datamodules.miniature.aerial.scene import Scene

GAP_M = 8.0  # between two houses around one court


@dataclass(frozen=True)
class Crop:
    """What grows on a strip: in rows, that recur after `period` metres, on bare or green ground.

    `tint` are factors of the plants' counts (red, green, blue, near infrared), `height` metres.
    """

    name: str
    label: int  # ISPRS id, for sensors that treat classes differently
    plants: str
    ground: str
    period: float
    height: float
    tint: tuple[float, float, float, float]
    crossed: bool = False  # rows in both directions


CROPS = (
    Crop("arable", LOW_VEGETATION, "dry_lawn", "dry_lawn", 3.0, 0.6, (1.25, 1.15, 0.8, 1.0)),
    Crop("plowed", LOW_VEGETATION, "soil", "soil", 2.4, 0.3, (0.75, 0.7, 0.7, 0.7)),
    Crop("vineyard", LOW_VEGETATION, "foliage", "soil", 2.4, 1.6, (0.9, 1.0, 0.9, 0.9)),
    Crop("conifers", TREE, "foliage", "foliage", 5.0, 13.0, (0.55, 0.62, 0.7, 0.55), True),
    Crop("brush", LOW_VEGETATION, "foliage", "meadow", 7.0, 2.0, (1.25, 0.95, 0.9, 0.8), True),
    Crop("greenhouse", BUILDING, "metal", "glass", 6.0, 4.0, (0.9, 1.0, 1.1, 0.9)),
)


def paint_farmland(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cover about half of a scene, in place, with strips of crops.

    Returns the number of the crop in `CROPS`, from 1, `(H, W)`; 0 is what was there before. Houses
    on the border stay whole.

    Example:
        >>> scene = Scene(1.0, *(np.zeros((64, 64), t) for t in ("u1", "f4", "u1")),
        ...               np.zeros((4, 64, 64), "f4"))
        >>> crops = paint_farmland(scene, np.random.default_rng(0))
        >>> bool((scene.label[crops == 0] == 0).all()), int(crops.max()) <= len(CROPS)
        (True, True)
    """
    size = scene.label.shape[0]
    turn, half = rng.uniform(0, 2 * np.pi), size * scene.gsd / 2
    down, right = (np.mgrid[:size, :size] + 0.5) * scene.gsd - half
    along = right * np.cos(turn) + down * np.sin(turn)
    across = down * np.cos(turn) - right * np.sin(turn)
    strips = ((along - along.min()) // rng.uniform(24, 32)).astype(int)
    order = rng.permutation(len(CROPS)) + 1
    crops = order[strips % len(CROPS)].astype(np.uint8)
    outside = across < rng.uniform(-0.2, 0.2) * half
    houses, _ = ndimage.label(scene.label == BUILDING)
    whole = np.isin(houses, houses[outside]) & (houses > 0)
    # nothing is farmed in the court between them either
    yards = ndimage.binary_closing(whole, iterations=round(GAP_M / scene.gsd) + 1)
    crops[outside | whole | ndimage.binary_fill_holes(yards)] = 0
    for number, crop in enumerate(CROPS, start=1):
        wave = np.sin(2 * np.pi * along / crop.period)
        if crop.crossed:
            wave *= np.sin(2 * np.pi * across / crop.period)
        _plant(scene, crop, crops == number, wave)
    return crops


def _plant(scene: Scene, crop: Crop, where: NDArray[np.bool_], wave: NDArray[np.floating]) -> None:
    """Paint one crop where it grows; `wave` is above 0 on its rows."""
    for part, material, tint in (
        (where & (wave > 0), crop.plants, crop.tint),
        (where & (wave <= 0), crop.ground, crop.tint if crop.plants == crop.ground else (1.0,) * 4),
    ):
        counts = np.array(MATERIALS[INDEX[material]].counts) * tint
        scene.material[part] = INDEX[material]
        scene.reflectance[:, part] = counts[:, None]
    scene.label[where] = crop.label
    lowest = 0.6 if crop.plants == crop.ground else 0.0
    scene.height[where] = crop.height * np.clip(wave, lowest, 1)[where]
