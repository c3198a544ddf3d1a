"""What happens inside a trained network, as the figures of the SGMA paper show it.

Figures 8 to 10 of arXiv 2603.02505, for any method that has the notion; docs/diagnose.md defines
every number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from benchmark.evaluation.inference import crop_top_left, iter_windows, present_modalities
from benchmark.figures import feature_statistics as statistics
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
    """One window of a scene as the network sees it, and what its `diagnostics` say of it."""

    found: Found
    labels: Array  # output channels (H, W); 255 without a class, beyond the scene, or seen before
    fresh: Array  # bool (H, W), pixels of the scene that no earlier window had
    here: tuple[slice, slice]  # rows and columns of the scene


def complete_scenes(data: SceneDataModule, scenes: Sequence[Scene]) -> list[Scene]:
    """Keep the scenes that have every modality."""
    every = len(data.modalities)
    whole = [scene for scene in scenes if len(present_modalities(data, scene)) == every]
    if not whole:
        raise UserError("No chosen scene has every modality; the diagnostics look at the full set.")
    if len(whole) < len(scenes):
        print(f"{len(scenes) - len(whole)} scenes lack a modality and are left out.")
    return whole


def read_diagnostics(model: AnyModalitySegmenter, batch: Mapping[str, Any]) -> Found:
    """Sort what a method's `diagnostics` say of a batch; `maps` are its features."""
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
    sample: statistics.PerClassReservoir
    channels: dict[str, slice] = field(default_factory=dict)
    moments: statistics.ClassMoments | None = None


@dataclass
class FeatureCollector:
    """Gathers features window by window and makes tables of them; scale 1 is the finest."""

    data: SceneDataModule
    points: int  # vectors per class that silhouette and t-SNE take
    draws: bool = False  # whether the method draws modalities in training
    # {scene: {(scale, modality): robustness (H, W)}} of a few scenes
    maps: dict[str, dict[tuple[int, str], Array]] = field(default_factory=dict)
    scales: dict[int, _ScaleFeatures] = field(default_factory=dict)
    # scale, modality, scene, sum of shares, cells
    shares: list[tuple[int, str, str, float, int]] = field(default_factory=list)

    @property
    def classes(self) -> Array:
        """Names of the output channels."""
        return np.array([entry.name for entry in self.data.store.classes])[self.data.outputs]

    def add_window(self, scene: Scene, view: WindowFeatures) -> None:
        """Take in one window."""
        self.draws = bool(view.found["draws"])
        for scale, maps in view.found["maps"].items():
            stride, shape = _cells(view, "maps", scale)
            labels = statistics.sample_at_cell_centres(view.labels, shape, stride, IGNORE)
            valid = labels != IGNORE
            named = {}
            for name in sorted(maps, key=FUSED.__eq__):  # it stands last
                named[name] = maps[name][0].movedim(0, -1).float().cpu().numpy()[valid]
            self._add_vectors(scale, stride, named, labels[valid].astype(np.int64))
        for scale, shares in view.found["robustness"].items():
            stride, shape = _cells(view, "robustness", scale)
            fresh = statistics.sample_at_cell_centres(view.fresh, shape, stride, False)
            for m, tensor in shares.items():
                cells = tensor[0].float().cpu().numpy()
                total = float(cells[fresh].sum())
                self.shares.append((scale, m, scene.id, total, int(fresh.sum())))
                self._paint(scene, view, (scale, m), cells.repeat(stride, 0).repeat(stride, 1))

    def _add_vectors(
        self, scale: int, stride: int, named: Mapping[str, Array], labels: Array
    ) -> None:
        if scale not in self.scales:
            sample, end = statistics.PerClassReservoir(self.points), 0
            self.scales[scale] = kept = _ScaleFeatures(stride, sample)
            for name, vectors in named.items():
                kept.channels[name] = slice(end, end + vectors.shape[1])
                end += vectors.shape[1]
            if FUSED in named:
                kept.moments = statistics.ClassMoments(len(self.classes), named[FUSED].shape[1])
        kept = self.scales[scale]
        # all names together, so that they are sampled at the same pixels
        kept.sample.offer(np.concatenate(list(named.values()), 1), labels)
        if kept.moments is not None:
            kept.moments.add_vectors(named[FUSED], labels)

    def _paint(
        self, scene: Scene, view: WindowFeatures, place: tuple[int, str], pixels: Array
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
        part[new] = pixels[inside][new]

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
            place = {"scale": scale, "stride": kept.stride, "channels": kept.moments.sums.shape[1]}
            columns = {"class": self.classes, "cells": kept.moments.count, "variance": relative}
            tables.append(pd.DataFrame({**place, **columns, "raw": raw}))
        return pd.concat(tables) if tables else pd.DataFrame()

    def _sample_tables(self, track: Track) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Silhouette and t-SNE of the sampled vectors of every name at every scale."""
        work: list[tuple[int, _ScaleFeatures, str]] = []
        for scale, kept in self.scales.items():
            if kept.sample.kept:
                work += product([scale], [kept], kept.channels)
        scores, points = [], []
        for scale, kept, name in track(work, description="silhouette and t-SNE"):
            vectors, labels = kept.sample.vectors_and_labels()
            own, present = vectors[:, kept.channels[name]], len(np.unique(labels))
            score = statistics.silhouette_score_of(own, labels)
            scores.append((scale, kept.stride, name, present, len(labels), score))
            x, y = statistics.embed_tsne(own).T
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
    maps = view.found[kind]
    finest, own = (next(iter(maps[one].values())).shape[-2:] for one in (min(maps), scale))
    return statistics.stride_of(len(view.labels), finest[0], own[0]), own


def count_draws(model: AnyModalitySegmenter, data: SceneDataModule, track: Track) -> pd.DataFrame:
    """Count how often one epoch of training windows draws each modality, with trained weights.

    Windows, augmentation and batches are those of the first epoch; the network is in eval mode.
    """
    tables = []
    # a diagnostic must not move the draws of whatever runs after it
    with torch.random.fork_rng():
        torch.manual_seed(statistics.SEED)
        for batch in track(data.train_dataloader(), description="sampling"):
            if len(batch["image"]) < len(data.modalities):
                continue  # chances among fewer modalities are not comparable
            found = read_diagnostics(model, batch)
            for scale, draws in found["draws"].items():
                for m, drawn in draws.items():
                    chance = found["sampling"][scale][m].tolist()
                    columns = {"chance": chance, "draws": drawn.tolist()}
                    tables.append(pd.DataFrame({"scale": scale, "modality": m, **columns}))
    groups = pd.concat(tables).groupby(["scale", "modality"], sort=False)
    sums: dict[str, Any] = {"draws": ("draws", "sum"), "windows": ("draws", "size")}
    table = groups.agg(chance=("chance", "mean"), **sums).reset_index()
    return table.sort_values("scale", kind="stable").astype({"draws": int})
