"""`imss diagnose`: what happens inside a trained network, as the figures of the SGMA paper show it.

Figures 8 to 10 of arXiv 2603.02505, for any method that has the notion; docs/diagnose.md defines every number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmark.evaluation.inference import crop_top_left, iter_windows, present_modalities
from benchmark.figures.feature_statistics import (
    SEED,
    ClassMoments,
    PixelSample,
    at_cells,
    embedding,
    silhouette,
)
from datamodules.store.scene_store import IGNORE
from usererror import UserError

if TYPE_CHECKING:
    from datamodules.base import SceneDataModule
    from datamodules.store.scene_store import Scene
    from methods.base import AnyModalitySegmenter

FUSED = "after fusion"  # stands where else the name of a modality does
MAPPED = 3  # scenes whose robustness maps are drawn
# diagnostic -> the notion that a method needs for it
NEEDS = {
    "variance": "maps after a fusion",
    "silhouette": "maps of single modalities",
    "tsne": "the same",
    "robustness": "a share of each modality in the fusion",
    "sampling": "draws of single modalities in training",
}
Array = npt.NDArray[Any]
Track = Callable[..., Any]
Found = dict[str, dict[int, dict[str, Any]]]  # kind -> scale -> modality, or `FUSED` -> tensor


class WindowFeatures(NamedTuple):
    """One window of a scene as the network sees it."""

    found: Found
    labels: Array  # H x W, output channels; 255 without a class, beyond the scene, or seen in an earlier window
    fresh: Array  # bool H x W, pixels of the scene that no earlier window had
    here: tuple[slice, slice]  # rows and columns of the scene


def complete_scenes(data: SceneDataModule, scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes that have every modality; UserError if none does."""
    whole = [
        scene for scene in scenes if len(present_modalities(data, scene)) == len(data.modalities)
    ]
    if not whole:
        raise UserError("No chosen scene has every modality; the diagnostics look at the full set.")
    if len(whole) < len(scenes):
        print(f"{len(scenes) - len(whole)} scenes lack a modality and are left out.")
    return whole


def read_diagnostics(model: AnyModalitySegmenter, batch: Mapping[str, Any]) -> Found:
    """What the method's `diagnostics` say of a batch, sorted; `maps` are its features before and after the fusion."""
    import torch

    images = {m: image.to(model.device) for m, image in batch["image"].items()}
    with torch.inference_mode():
        named = model.diagnostics({"image": images, "mask": batch["mask"].to(model.device)})
    found: Found = {kind: {} for kind in ("maps", "robustness", "sampling", "draws")}
    for name, values in named.items():
        kind, *place = name.split("/")
        kind = "maps" if kind in ("features", "fused") else kind
        if kind in found:
            *modality, scale = place
            found[kind].setdefault(int(scale), {})["".join(modality) or FUSED] = values
    return found


def stride_of(height: int, finest: int, own: int) -> int:
    """Pixels a cell of a map with `own` rows, whose finest sister has `finest`, in a window of `height` pixels.

    Networks pad a window to a multiple of their coarsest stride before all else, so the finest map tells the padded
    height: exactly for windows that need no padding or have more finest rows than padding, as all from 128 px on.
    """
    return -(-height // finest) * finest // own


def iter_window_features(
    model: AnyModalitySegmenter, data: SceneDataModule, scene: Scene
) -> Iterator[WindowFeatures]:
    """The windows of a scene side by side; each pixel is fresh in exactly one of them."""
    import torch

    seen = np.zeros((scene.height, scene.width), bool)
    for batch, (row, col, rows, cols) in iter_windows(data, scene, stride=data.window):
        here = slice(row, row + rows), slice(col, col + cols)
        ids = batch["mask"][0].numpy()
        fresh = np.zeros(ids.shape, bool)
        fresh[:rows, :cols] = ~seen[here]
        seen[here] = True
        labels = np.where(fresh, data.label_map[ids], IGNORE)
        yield WindowFeatures(
            read_diagnostics(model, {**batch, "mask": torch.from_numpy(labels)[None].long()}),
            labels,
            fresh,
            here,
        )


class FeatureCollector:
    """What is gathered from the windows, and the tables made of it; scale 1 is the finest.

    Args:
        data: names and colours of the classes.
        points: vectors per class that silhouette and t-SNE take.
    """

    def __init__(self, data: SceneDataModule, points: int) -> None:
        names = {entry.id: entry.name for entry in data.store.classes}
        self.classes, self.points = [names[label] for label in data.outputs], points
        self.draws = False
        self.strides: dict[int, int] = {}
        self.moments: dict[int, ClassMoments] = {}
        self.samples: dict[int, PixelSample] = {}
        self.parts: dict[
            int, dict[str, slice]
        ] = {}  # where the channels of each name lie in a sampled vector
        self.shares: list[
            tuple[int, str, str, float, int]
        ] = []  # scale, modality, scene, sum of r, cells
        self.maps: dict[
            str, dict[tuple[int, str], Array]
        ] = {}  # scene -> (scale, modality) -> r, H x W

    def add(self, scene: Scene, view: WindowFeatures) -> None:
        """Take in one window."""
        self.draws = bool(view.found["draws"])
        for scale, maps in view.found["maps"].items():
            order = sorted(maps, key=lambda name: name == FUSED)  # it stands last
            named = {name: maps[name][0].movedim(0, -1).float().cpu().numpy() for name in order}
            labels = self._at_cells(view, view.labels, "maps", scale, IGNORE)
            valid = labels != IGNORE
            self._vectors(
                scale,
                {name: cells[valid] for name, cells in named.items()},
                labels[valid].astype(np.int64),
            )
        for scale, shares in view.found["robustness"].items():
            fresh = self._at_cells(view, view.fresh, "robustness", scale, False)
            for m, tensor in shares.items():
                cells = tensor[0].float().cpu().numpy()
                self.shares.append(
                    (scale, m, scene.id, float(cells[fresh].sum()), int(fresh.sum()))
                )
                self._paint(scene, view, (scale, m), cells)

    def _at_cells(
        self, view: WindowFeatures, pixels: Array, kind: str, scale: int, beyond: int
    ) -> Array:
        """`pixels` at the cells of this scale; notes its stride."""
        shapes = {
            number: next(iter(maps.values())).shape[-2:]
            for number, maps in view.found[kind].items()
        }
        self.strides[scale] = stride_of(len(pixels), shapes[min(shapes)][0], shapes[scale][0])
        return at_cells(pixels, shapes[scale], self.strides[scale], beyond)

    def _vectors(self, scale: int, named: Mapping[str, Array], labels: Array) -> None:
        if scale not in self.samples:
            ends = np.cumsum([0, *(vectors.shape[1] for vectors in named.values())])
            self.parts[scale] = {
                name: slice(a, b) for name, a, b in zip(named, ends, ends[1:], strict=False)
            }
            self.samples[scale] = PixelSample(self.points)
            if FUSED in named:
                self.moments[scale] = ClassMoments(len(self.classes), named[FUSED].shape[1])
        self.samples[scale].add(np.concatenate(list(named.values()), 1), labels)
        if FUSED in named:
            self.moments[scale].add(named[FUSED], labels)

    def _paint(
        self, scene: Scene, view: WindowFeatures, place: tuple[int, str], cells: Array
    ) -> None:
        """Put a window's robustness map into the picture of its scene, if the scene is one of those drawn."""
        if scene.id not in self.maps and len(self.maps) == MAPPED:
            return
        drawn, stride = crop_top_left(scene), self.strides[place[0]]
        canvas = self.maps.setdefault(scene.id, {}).setdefault(
            place, np.full((drawn.height, drawn.width), np.nan, np.float32)
        )
        part = canvas[view.here]
        inside = (slice(part.shape[0]), slice(part.shape[1]))
        new = view.fresh[inside]
        part[new] = cells.repeat(stride, 0).repeat(stride, 1)[inside][new]

    def tables(self, track: Track) -> dict[str, pd.DataFrame]:
        """{diagnostic: table} of what the method has."""
        tables = {
            "variance": self._variance(),
            **self._samples(track),
            "robustness": self._shares(),
        }
        return {name: table for name, table in tables.items() if len(table)}

    def _variance(self) -> pd.DataFrame:
        rows = []
        for scale, moments in self.moments.items():
            relative, raw = moments.variances()
            for label, name in enumerate(self.classes):
                place = (
                    scale,
                    self.strides[scale],
                    moments.sums.shape[1],
                    name,
                    moments.count[label],
                )
                rows.append((*place, relative[label], raw[label]))
        return pd.DataFrame(
            rows, columns=["scale", "stride", "channels", "class", "cells", "variance", "raw"]
        )

    def _samples(self, track: Track) -> dict[str, pd.DataFrame]:
        scores, points = [], []
        sampled = [
            (scale, *sample.result()) for scale, sample in self.samples.items() if sample.kept
        ]
        work = [
            (*entry, name, part) for entry in sampled for name, part in self.parts[entry[0]].items()
        ]
        for scale, vectors, labels, name, part in track(work, description="silhouette and t-SNE"):
            own = vectors[:, part]
            present = len(np.unique(labels))
            scores.append(
                (scale, self.strides[scale], name, present, len(labels), silhouette(own, labels))
            )
            places = pd.DataFrame(embedding(own), columns=["x", "y"])
            points.append(
                places.assign(scale=scale, maps=name, **{"class": np.array(self.classes)[labels]})
            )
        return {
            "silhouette": pd.DataFrame(
                scores, columns=["scale", "stride", "maps", "classes", "points", "silhouette"]
            ),
            "tsne": pd.concat(points)[["scale", "maps", "class", "x", "y"]]
            if points
            else pd.DataFrame(),
        }

    def _shares(self) -> pd.DataFrame:
        """The mean over a scene's cells, then mean and standard deviation over scenes."""
        sums = pd.DataFrame(self.shares, columns=["scale", "modality", "scene", "sum", "cells"])
        per_scene = sums.groupby(["scale", "modality", "scene"], sort=False)[["sum", "cells"]].sum()
        means = (per_scene["sum"] / per_scene["cells"]).groupby(["scale", "modality"], sort=False)
        return means.agg(mean="mean", std="std", scenes="count").reset_index()


def count_draws(model: AnyModalitySegmenter, data: SceneDataModule, track: Track) -> pd.DataFrame:
    """How often one epoch of training windows draws each modality, with the trained weights.

    Windows, augmentation and batches are those of the first epoch; the network is in eval mode.
    """
    import torch

    rows: list[tuple[int, str, float, float]] = []
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        for batch in track(data.train_dataloader(), description="sampling"):
            if len(batch["image"]) < len(data.modalities):
                continue
            found = read_diagnostics(model, batch)
            for scale, draws in found["draws"].items():
                for m, drawn in draws.items():
                    pairs = zip(found["sampling"][scale][m].tolist(), drawn.tolist(), strict=True)
                    rows += [(scale, m, chance, taken) for chance, taken in pairs]
    frame = pd.DataFrame(rows, columns=["scale", "modality", "chance", "draws"])
    groups = frame.groupby(["scale", "modality"], sort=False)
    table = groups.agg(
        chance=("chance", "mean"), draws=("draws", "sum"), windows=("draws", "size")
    ).reset_index()
    return table.sort_values("scale", kind="stable").astype({"draws": int})
