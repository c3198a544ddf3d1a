"""Map-style datasets over a scene store: random training windows and covering evaluation windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.loading.augment import color_jitter, random_geometry
from datamodules.loading.normalize import Normalizer
from datamodules.loading.windows import covering_starts, covering_windows, random_window
from datamodules.store.reader import RasterReader, Window
from datamodules.store.scene_store import IGNORE, Scene

INTERIOR, BAND = 0, 1


@dataclass(frozen=True)
class InputLayer:
    """A modality as the network sees it: name, raster column it is read from, number of bands, normalisation."""

    name: str
    raster: str
    channels: int
    normalizer: Normalizer
    optical_top: float | None  # largest storable value where colour jitter applies


def available_layers(scene: Scene, layers: Sequence[InputLayer]) -> tuple[str, ...]:
    """Names of the modalities the scene has, in the given order."""
    return tuple(layer.name for layer in layers if layer.raster in scene.paths)


class TrainingWindows(Dataset[dict[str, Any]]):
    """Random windows, drawn from (seed, epoch, index) alone.

    Args:
        scenes: training scenes.
        layers: modalities to read.
        label: label column.
        label_map: uint8 table of 256 entries from stored id to network class (255 = ignore).
        window: side of the returned windows in pixels.
        scale_jitter: range of the zoom factor; 2 shows half as many pixels twice as large.
        colour_jitter: strength on optical modalities.
        nadir: the camera looks straight down, so all eight orientations are natural.
        seed: base of all draws.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        layers: Sequence[InputLayer],
        label: str,
        label_map: np.ndarray,
        window: int,
        scale_jitter: tuple[float, float],
        colour_jitter: float,
        nadir: bool,
        seed: int,
    ) -> None:
        self.scenes, self.layers, self.label, self.label_map = scenes, layers, label, label_map
        self.window, self.scale_jitter, self.colour_jitter = window, scale_jitter, colour_jitter
        self.nadir, self.seed = nadir, seed
        self.reader = RasterReader()
        # an epoch is the number of non-overlapping windows, and each scene gets its own share of them
        self.scene_of_index = [
            number
            for number, scene in enumerate(scenes)
            for _ in covering_windows(scene.height, scene.width, window, window)
        ]

    def __len__(self) -> int:
        return len(self.scene_of_index)

    def scene_at(self, index: int) -> Scene:
        """The scene an index falls into (indices beyond the length start over)."""
        return self.scenes[self.scene_of_index[index % len(self)]]

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """`image`: {modality: C x window x window}, `mask`: int64 window x window, `scene`, `window` (4 numbers)."""
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        scene = self.scene_at(index)
        geometry = random_geometry(rng, self.window, self.scale_jitter, self.nadir)
        place = random_window(rng, scene.height, scene.width, geometry.side)
        present = [layer for layer in self.layers if layer.raster in scene.paths]
        images = {
            layer.name: torch.from_numpy(
                layer.normalizer.to_valid(
                    self.reader.read(scene.paths[layer.raster], place, layer.channels), scene.id
                )
            )
            for layer in present
        }
        images = {name: geometry.apply_to_image(pixels) for name, pixels in images.items()}
        tops = {layer.name: layer.optical_top for layer in present if layer.optical_top}
        images = color_jitter(rng, images, tops, self.colour_jitter)
        ids = read_label(self.reader, scene, self.label, place)
        return {
            "image": {
                layer.name: torch.from_numpy(
                    layer.normalizer.standardize(images[layer.name].numpy(), scene.id)
                )
                for layer in present
            },
            "mask": geometry.apply_to_mask(torch.from_numpy(self.label_map[ids])).long(),
            "scene": scene.id,
            "window": torch.tensor(place),
        }


class EvaluationWindows(Dataset[dict[str, Any]]):
    """Windows that cover every scene, scene by scene and row by row.

    `mask` holds the store's own ids (clutter included); `region` is 1 in the band that erosion removes, else 0.
    `window` is (row, col, height, width) of the part inside the scene; what lies beyond is padding (image edge, 255).

    Args:
        scenes: scenes to score.
        layers: modalities to read.
        label: label column that gives the ids.
        eroded: label column whose 255 marks the band, or None.
        window, stride: in pixels.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        layers: Sequence[InputLayer],
        label: str,
        eroded: str | None,
        window: int,
        stride: int,
    ) -> None:
        self.scenes, self.layers, self.label, self.eroded = scenes, layers, label, eroded
        self.window, self.stride = window, stride
        self.reader = RasterReader()
        self.places: list[Window] = []
        self.scene_of_index: list[int] = []
        for number, scene in enumerate(scenes):
            places = covering_windows(scene.height, scene.width, window, stride)
            self.places += places
            self.scene_of_index += [number] * len(places)

    def __len__(self) -> int:
        return len(self.places)

    def scene_at(self, index: int) -> Scene:
        """The scene an index falls into."""
        return self.scenes[self.scene_of_index[index]]

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """As described above; `scene_number` counts within the evaluated scenes."""
        index = key[1]
        scene, place = self.scene_at(index), self.places[index]
        ids = read_label(self.reader, scene, self.label, place)
        region = np.zeros_like(ids)
        if self.eroded:
            region[read_label(self.reader, scene, self.eroded, place) == IGNORE] = BAND
        return {
            "image": {
                layer.name: torch.from_numpy(self._read(layer, scene, place))
                for layer in self.layers
                if layer.raster in scene.paths
            },
            "mask": torch.from_numpy(ids).long(),
            "region": torch.from_numpy(region),
            "scene": scene.id,
            "scene_number": self.scene_of_index[index],
            "window": torch.tensor(
                (
                    place.row,
                    place.col,
                    min(place.height, scene.height - place.row),
                    min(place.width, scene.width - place.col),
                )
            ),
        }

    def row_of_windows(self, index: int, batch_size: int) -> tuple[int, int] | None:
        """(scene number, row) where a row of windows fills a batch, else None.

        A batch that stays within one row of windows lets the evaluation hold no more rows of a wide scene than a
        window has; in narrow scenes there is little to hold.
        """
        number = self.scene_of_index[index]
        columns = len(covering_starts(self.scenes[number].width, self.window, self.stride))
        return (number, self.places[index].row) if columns >= batch_size else None

    def _read(self, layer: InputLayer, scene: Scene, place: Window) -> np.ndarray:
        pixels = self.reader.read(scene.paths[layer.raster], place, layer.channels)
        return layer.normalizer.standardize(layer.normalizer.to_valid(pixels, scene.id), scene.id)


def read_label(reader: RasterReader, scene: Scene, column: str, place: Window) -> np.ndarray:
    """uint8 height x width of stored ids; 255 beyond the scene."""
    ids = reader.read(scene.paths[column], place, 1)[0]
    ids[scene.height - place.row :] = IGNORE
    ids[:, scene.width - place.col :] = IGNORE
    return ids


def collate_windows(
    samples: Sequence[Mapping[str, Any]], modalities: Sequence[str]
) -> dict[str, Any]:
    """Stack samples of one availability pattern.

    Returns:
        `image` {name: float32 B x C x H x W} of the modalities the batch has, `available` {name: bool B} for all
        configured ones, `mask` int64 B x H x W, `scene` list of ids, and the other tensors stacked.
    """
    batch: dict[str, Any] = {
        "image": {
            name: torch.stack([sample["image"][name] for sample in samples])
            for name in samples[0]["image"]
        },
        "available": {
            name: torch.full((len(samples),), name in samples[0]["image"], dtype=torch.bool)
            for name in modalities
        },
        "scene": [sample["scene"] for sample in samples],
    }
    for key in samples[0].keys() - {"image", "scene"}:
        values = [sample[key] for sample in samples]
        batch[key] = torch.stack(values) if isinstance(values[0], Tensor) else torch.tensor(values)
    return batch
