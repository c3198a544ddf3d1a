"""What happens inside a trained network, as the figures of the SGMA paper show it.

Figures 8 to 10 of arXiv 2603.02505, for any method that has the notion; docs/diagnose.md defines
every number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmark.evaluation.inference import crop_top_left, iter_windows, present_modalities
from benchmark.figures.feature_statistics import (
    SEED,
    ClassMoments,
    PerClassReservoir,
    embed_tsne,
    sample_at_cell_centres,
    silhouette_score_of,
    stride_of,
)
from datamodules.store.scene_store import IGNORE
from usererror import UserError

if TYPE_CHECKING:
    from datamodules.base import SceneDataModule
    from datamodules.store.scene_store import Scene
    from methods.base import AnyModalitySegmenter

FUSED = "after fusion"  # stands where else the name of a modality does
MAPPED_SCENES = 3  # whose robustness maps are drawn
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
    """One window of a scene as the network sees it.

    Attributes:
        found: what the method's `diagnostics` say of it.
        labels: output channels `(H, W)`; 255 without a class, beyond the scene, or seen before.
        fresh: bool `(H, W)`, pixels of the scene that no earlier window had.
        here: rows and columns of the scene.
    """

    found: Found
    labels: Array
    fresh: Array
    here: tuple[slice, slice]


def complete_scenes(data: SceneDataModule, scenes: Sequence[Scene]) -> list[Scene]:
    """Keep the scenes that have every modality.

    Raises:
        UserError: none does.
    """
    every = len(data.modalities)
    whole = [scene for scene in scenes if len(present_modalities(data, scene)) == every]
    if not whole:
        raise UserError("No chosen scene has every modality; the diagnostics look at the full set.")
    if len(whole) < len(scenes):
        print(f"{len(scenes) - len(whole)} scenes lack a modality and are left out.")
    return whole


def read_diagnostics(model: AnyModalitySegmenter, batch: Mapping[str, Any]) -> Found:
    """Sort what a method's `diagnostics` say of a batch; `maps` are its features."""
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


def iter_window_features(
    model: AnyModalitySegmenter, data: SceneDataModule, scene: Scene
) -> Iterator[WindowFeatures]:
    """Look at the windows of a scene side by side; each pixel is fresh in exactly one of them."""
    import torch

    seen = np.zeros((scene.height, scene.width), bool)
    for batch, (row, col, rows, cols) in iter_windows(data, scene, stride=data.window):
        here = slice(row, row + rows), slice(col, col + cols)
        ids = batch["mask"][0].numpy()
        fresh = np.zeros(ids.shape, bool)
        fresh[:rows, :cols] = ~seen[here]
        seen[here] = True
        labels = np.where(fresh, data.label_map[ids], IGNORE)
        batch["mask"] = torch.from_numpy(labels)[None].long()
        yield WindowFeatures(read_diagnostics(model, batch), labels, fresh, here)


@dataclass
class _ScaleFeatures:
    """What is kept of one scale: where each name's channels lie in a vector, and its vectors."""

    stride: int
    channels: dict[str, slice]
    sample: PerClassReservoir
    moments: ClassMoments | None


@dataclass
class FeatureCollector:
    """Gathers features window by window and makes tables of them; scale 1 is the finest.

    Args:
        data: names of the classes.
        points: vectors per class that silhouette and t-SNE take.

    Attributes:
        draws: whether the method draws modalities in training.
        maps: {scene: {(scale, modality): robustness `(H, W)`}} of a few scenes.
    """

    data: SceneDataModule
    points: int
    draws: bool = False
    maps: dict[str, dict[tuple[int, str], Array]] = field(default_factory=dict)
    scales: dict[int, _ScaleFeatures] = field(default_factory=dict)
    # scale, modality, scene, sum of shares, cells
    shares: list[tuple[int, str, str, float, int]] = field(default_factory=list)

    @property
    def classes(self) -> Array:
        """Names of the output channels."""
        names = {entry.id: entry.name for entry in self.data.store.classes}
        return np.array([names[label] for label in self.data.outputs])

    def add_window(self, scene: Scene, view: WindowFeatures) -> None:
        """Take in one window."""
        self.draws = bool(view.found["draws"])
        for scale, maps in view.found["maps"].items():
            order = sorted(maps, key=lambda name: name == FUSED)  # it stands last
            stride, shape = _cells(view, "maps", scale)
            labels = sample_at_cell_centres(view.labels, shape, stride, IGNORE)
            valid = labels != IGNORE
            named = {}
            for name in order:
                named[name] = maps[name][0].movedim(0, -1).float().cpu().numpy()[valid]
            self._add_vectors(scale, stride, named, labels[valid].astype(np.int64))
        for scale, shares in view.found["robustness"].items():
            stride, shape = _cells(view, "robustness", scale)
            fresh = sample_at_cell_centres(view.fresh, shape, stride, False)
            for m, tensor in shares.items():
                cells = tensor[0].float().cpu().numpy()
                total = float(cells[fresh].sum())
                self.shares.append((scale, m, scene.id, total, int(fresh.sum())))
                self._paint(scene, view, (scale, m), cells, stride)

    def _add_vectors(
        self, scale: int, stride: int, named: Mapping[str, Array], labels: Array
    ) -> None:
        if scale not in self.scales:
            channels, end = {}, 0
            for name, vectors in named.items():
                channels[name] = slice(end, end + vectors.shape[1])
                end += vectors.shape[1]
            moments = None
            if FUSED in named:
                moments = ClassMoments(len(self.classes), named[FUSED].shape[1])
            sample = PerClassReservoir(self.points)
            self.scales[scale] = _ScaleFeatures(stride, channels, sample, moments)
        kept = self.scales[scale]
        # all names together, so that they are sampled at the same pixels
        kept.sample.offer(np.concatenate(list(named.values()), 1), labels)
        if kept.moments is not None:
            kept.moments.add_vectors(named[FUSED], labels)

    def _paint(
        self,
        scene: Scene,
        view: WindowFeatures,
        place: tuple[int, str],
        cells: Array,
        stride: int,
    ) -> None:
        """Put a window's robustness map into the picture of its scene, if that is drawn."""
        if scene.id not in self.maps and len(self.maps) == MAPPED_SCENES:
            return
        drawn, maps = crop_top_left(scene), self.maps.setdefault(scene.id, {})
        if place not in maps:
            maps[place] = np.full((drawn.height, drawn.width), np.nan, np.float32)
        part = maps[place][view.here]
        inside = slice(part.shape[0]), slice(part.shape[1])
        # pixels that an earlier window had keep its value: each counts once in the table too
        new = view.fresh[inside]
        part[new] = cells.repeat(stride, 0).repeat(stride, 1)[inside][new]

    def build_tables(self, track: Track) -> dict[str, pd.DataFrame]:
        """Make {diagnostic: table} of what the method has."""
        tables = {"variance": self._variance_table()}
        tables["silhouette"], tables["tsne"] = self._sample_tables(track)
        tables["robustness"] = self._robustness_table()
        return {name: table for name, table in tables.items() if len(table)}

    def _variance_table(self) -> pd.DataFrame:
        tables = []
        for scale, kept in self.scales.items():
            if kept.moments is None:
                continue
            relative, raw = kept.moments.variances()
            columns = {
                "scale": scale,
                "stride": kept.stride,
                "channels": kept.moments.sums.shape[1],
                "class": self.classes,
                "cells": kept.moments.count,
                "variance": relative,
                "raw": raw,
            }
            tables.append(pd.DataFrame(columns))
        return pd.concat(tables) if tables else pd.DataFrame()

    def _sample_tables(self, track: Track) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Silhouette and t-SNE of the sampled vectors of every name at every scale."""
        work: list[tuple[int, str]] = []
        for scale, kept in self.scales.items():
            if kept.sample.kept:
                work += [(scale, name) for name in kept.channels]
        scores, points = [], []
        for scale, name in track(work, description="silhouette and t-SNE"):
            kept = self.scales[scale]
            vectors, labels = kept.sample.vectors_and_labels()
            own, present = vectors[:, kept.channels[name]], len(np.unique(labels))
            score = silhouette_score_of(own, labels)
            scores.append((scale, kept.stride, name, present, len(labels), score))
            x, y = embed_tsne(own).T
            places = {"scale": scale, "maps": name, "class": self.classes[labels], "x": x, "y": y}
            points.append(pd.DataFrame(places))
        columns = ["scale", "stride", "maps", "classes", "points", "silhouette"]
        table = pd.DataFrame(scores, columns=columns)
        return table, pd.concat(points) if points else pd.DataFrame()

    def _robustness_table(self) -> pd.DataFrame:
        """The mean over a scene's cells, then mean and standard deviation over scenes."""
        place = ["scale", "modality", "scene"]
        sums = pd.DataFrame(self.shares, columns=[*place, "sum", "cells"])
        per_scene = sums.groupby(place, sort=False)[["sum", "cells"]].sum()
        means = (per_scene["sum"] / per_scene["cells"]).groupby(place[:2], sort=False)
        return means.agg(mean="mean", std="std", scenes="count").reset_index()


def _cells(view: WindowFeatures, kind: str, scale: int) -> tuple[int, tuple[int, int]]:
    """Stride and `(h, w)` of the maps of a scale."""
    shapes = {}
    for number, maps in view.found[kind].items():
        shapes[number] = next(iter(maps.values())).shape[-2:]
    finest, own = shapes[min(shapes)], shapes[scale]
    return stride_of(len(view.labels), finest[0], own[0]), own


def count_draws(model: AnyModalitySegmenter, data: SceneDataModule, track: Track) -> pd.DataFrame:
    """Count how often one epoch of training windows draws each modality, with trained weights.

    Windows, augmentation and batches are those of the first epoch; the network is in eval mode.
    """
    import torch

    tables = []
    # a diagnostic must not move the draws of whatever runs after it
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        for batch in track(data.train_dataloader(), description="sampling"):
            if len(batch["image"]) < len(data.modalities):
                continue  # chances among fewer modalities are not comparable
            found = read_diagnostics(model, batch)
            for scale, draws in found["draws"].items():
                for m, drawn in draws.items():
                    columns = {"scale": scale, "modality": m, "draws": drawn.tolist()}
                    columns["chance"] = found["sampling"][scale][m].tolist()
                    tables.append(pd.DataFrame(columns))
    groups = pd.concat(tables).groupby(["scale", "modality"], sort=False)
    table = groups.agg(
        chance=("chance", "mean"), draws=("draws", "sum"), windows=("draws", "size")
    ).reset_index()
    return table.sort_values("scale", kind="stable").astype({"draws": int})
