"""Datasets over a scene store: random training windows and covering evaluation windows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.damage.scenario import Scenario
from datamodules.loading.augment import color_jitter, random_geometry
from datamodules.loading.damaged_windows import damaged_versions
from datamodules.loading.input_layer import InputLayer
from datamodules.loading.samplers import BLANK
from datamodules.loading.windows import covering_starts, covering_windows, random_window
from datamodules.store.reader import RasterReader, Window
from datamodules.store.scene_store import BAND, IGNORE, REGIONS, Scene

Sample = dict[str, Any]


@dataclass(eq=False)
class SceneWindows(Dataset[Sample]):
    """Windows of scenes, by index, with the ids of the column `label`."""

    scenes: Sequence[Scene]
    layers: Sequence[InputLayer]
    label: str

    def __post_init__(self) -> None:
        self.reader = RasterReader()
        self.scene_of_index: list[int] = []

    def __len__(self) -> int:
        return len(self.scene_of_index)

    def scene_at(self, index: int) -> Scene:
        """Return the scene of an index; indices beyond the length start over."""
        return self.scenes[self.scene_of_index[index % len(self)]]

    def layers_of(self, scene: Scene) -> list[InputLayer]:
        """List the modalities that a scene has."""
        return [layer for layer in self.layers if layer.raster in scene.paths]

    def available_at(self, index: int) -> tuple[str, ...]:
        """Name the modalities that the scene of an index has."""
        return tuple(layer.name for layer in self.layers_of(self.scene_at(index)))

    def read_valid(self, layer: InputLayer, scene: Scene, place: Window) -> np.ndarray:
        """Read float32 `(C, H, W)` in stored units, invalid values filled."""
        pixels = self.reader.read(scene.paths[layer.raster], place, layer.channels)
        return layer.normalizer.to_valid(pixels, scene.id)

    def read_label(self, column: str, scene: Scene, place: Window) -> np.ndarray:
        """Read uint8 `(H, W)` of stored ids; 255 beyond the scene."""
        ids = self.reader.read(scene.paths[column], place, 1)[0]
        # the reader repeats the edge, but what lies beyond a scene has no class
        ids[scene.height - place.row :] = IGNORE
        ids[:, scene.width - place.col :] = IGNORE
        return ids


@dataclass(eq=False)
class TrainingWindows(SceneWindows):
    """Random windows of `window` x `window` pixels, drawn from (seed, epoch, index) alone.

    `label_map` is a uint8 table of 256 entries from stored id to network class (255 = ignore);
    `scale_jitter` the range of the zoom factor: 2 shows half as many pixels twice as large.
    An epoch has `length` windows, None: as many as cover the scenes without overlap; scenes get
    shares by their area, or with `alike` all the same.
    """

    label_map: np.ndarray
    window: int
    scale_jitter: tuple[float, float]
    colour_jitter: float
    nadir: bool
    seed: int
    length: int | None = None
    alike: bool = False
    quarter_turns: bool = True
    rotation: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        shares: list[int] = []
        for number, scene in enumerate(self.scenes):
            windows = covering_windows(scene.height, scene.width, self.window, self.window)
            shares += [number] * len(windows)
        length = self.length or len(shares)
        if self.alike:
            shares = list(range(len(self.scenes)))
        # dealt evenly: without a length of its own an index is one of the covering windows
        self.scene_of_index = [shares[index * len(shares) // length] for index in range(length)]

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Draw `image` {modality: float32 `(C, window, window)`}, `mask` int64, and their place.

        `scene` is its id, `window` the (row, col, height, width) as read.
        """
        epoch, index = key
        # neither the worker nor the order of samples matters to what is drawn
        rng = np.random.default_rng((self.seed, epoch, index))
        scene = self.scene_at(index)
        turns = (self.nadir, self.quarter_turns, self.rotation)
        geometry = random_geometry(rng, self.window, self.scale_jitter, *turns)
        place = random_window(rng, scene.height, scene.width, geometry.side)
        layers = self.layers_of(scene)
        images: dict[str, Tensor] = {}
        tops: dict[str, float] = {}
        for layer in layers:
            pixels = torch.from_numpy(self.read_valid(layer, scene, place))
            images[layer.name] = geometry.apply_to_image(pixels)
            if layer.optical_top:
                tops[layer.name] = layer.optical_top
        # colours change in stored units, before standardisation hides where zero is
        images = color_jitter(rng, images, tops, self.colour_jitter)
        for layer in layers:
            values = layer.normalizer.standardize(images[layer.name].numpy(), scene.id)
            images[layer.name] = torch.from_numpy(values)
        ids = self.label_map[self.read_label(self.label, scene, place)]
        mask = geometry.apply_to_mask(torch.from_numpy(ids)).long()
        return {"image": images, "mask": mask, "scene": scene.id, "window": tuple(place)}


@dataclass(eq=False)
class EvaluationWindows(SceneWindows):
    """Windows that cover every scene, scene by scene and row by row.

    `eroded` is the label column whose 255 marks the band along class borders, or None. Under a
    `scenario` each sample also has its images as that damages them.
    """

    eroded: str | None
    window: int
    stride: int
    scenario: Scenario | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.places: list[Window] = []
        for number, scene in enumerate(self.scenes):
            places = covering_windows(scene.height, scene.width, self.window, self.stride)
            self.places += places
            self.scene_of_index += [number] * len(places)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Read a sample as `TrainingWindows` does, with `region` `(H, W)` and `scene_number`.

        `mask` holds the store's own ids (clutter included), `window` the part inside the scene (the
        rest is padding: image edge, label 255), `region` an index into `REGIONS`. The index `BLANK`
        is the first window without its labels. `damaged` holds, of each modality that suffers the
        scenario, a version for every severity, float32 `(S, C, window, window)`.
        """
        index = max(key[1], 0)
        scene, place = self.scene_at(index), self.places[index]
        images: dict[str, Tensor] = {}
        damaged: dict[str, Tensor] = {}
        for layer in self.layers_of(scene):
            values = self.read_valid(layer, scene, place)
            values = layer.normalizer.standardize(values, scene.id)
            images[layer.name] = torch.from_numpy(values)
            if self.scenario and self.scenario.affects(layer.normalizer.kind):
                read = partial(self.read_valid, layer, scene)
                versions = damaged_versions(read, layer, scene.id, place, self.scenario)
                damaged[layer.name] = torch.from_numpy(versions)
        ids = self.read_label(self.label, scene, place)
        if key[1] == BLANK:
            ids[:] = IGNORE
        region = np.zeros_like(ids)
        if self.eroded:
            eroded = self.read_label(self.eroded, scene, place)
            region[eroded == IGNORE] = REGIONS.index(BAND)
        height = min(place.height, scene.height - place.row)
        width = min(place.width, scene.width - place.col)
        return {
            "image": images,
            "damaged": damaged,
            "mask": torch.from_numpy(ids).long(),
            "region": torch.from_numpy(region),
            "scene": scene.id,
            "scene_number": self.scene_of_index[index],
            "window": (place.row, place.col, height, width),
        }

    def row_of_windows(self, index: int, batch_size: int) -> tuple[int, int] | None:
        """Return (scene number, row) where a row of windows fills a batch, else None."""
        # a batch within one row of windows lets the evaluation hold no more rows of a wide scene
        # than a window has; in narrow scenes there is little to hold
        number = self.scene_of_index[index]
        columns = len(covering_starts(self.scenes[number].width, self.window, self.stride))
        return (number, self.places[index].row) if columns >= batch_size else None


def collate_windows(samples: Sequence[Mapping[str, Any]], modalities: Sequence[str]) -> Sample:
    """Stack samples of one availability pattern; `scene` becomes a list of ids.

    `image` {name: float32 `(B, C, H, W)`} holds the modalities the batch has; `mask` is int64
    `(B, H, W)`. NumPy arrays, which stay on the host, are `available` {name: bool `(B,)`} of all
    `modalities`, and where windows lie, `scene_number` `(B,)` and `window` `(B, 4)`.
    """
    # the samplers put one availability pattern into a batch, so the first sample speaks for all
    first = samples[0]
    batch: Sample = {"available": {}, "scene": [sample["scene"] for sample in samples]}
    for part in ("image", "damaged"):
        batch[part] = {}
        for name in first.get(part, ()):
            batch[part][name] = torch.stack([sample[part][name] for sample in samples])
    for name in modalities:
        # decides what a step computes, hence is read
        batch["available"][name] = np.full(len(samples), name in first["image"])
    for key in first.keys() - batch.keys():
        values = [sample[key] for sample in samples]
        # a GPU gets tensors only: to read a number from there is to wait for all it has to do
        batch[key] = torch.stack(values) if isinstance(values[0], Tensor) else np.array(values)
    return batch
