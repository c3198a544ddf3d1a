"""One datamodule over any scene store; it owns classes, modalities, ignore index, windows and loaders."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
from torch.utils.data import DataLoader, Dataset

from datamodules.loading.datasets import (
    EvaluationWindows,
    InputLayer,
    TrainingWindows,
    available_layers,
    collate_windows,
)
from datamodules.loading.normalize import Rule, default_rule, fit_normalizer
from datamodules.loading.samplers import EvaluationBatches, TrainingBatches, share_scenes
from datamodules.store.scene_store import IGNORE, Modality, Scene, SceneStore
from usererror import UserError


class SceneDataModule(L.LightningDataModule):
    """Batches of windows from a scene store; the batch format is that of `samples.collate_windows`.

    Args:
        name: dataset name, the folder below `store`.
        store: directory of the scene stores (`~` is expanded).
        modalities: names in the order of the table; None takes all rasters of the store.
        rasters: {modality: raster column} where they differ, e.g. {dsm: ndsm}.
        split: split column of scenes.csv.
        train_label: label column to train on.
        score_label: label column to score on; with `label_eroded` the band is counted apart, so the full-label score
            can be re-read from the same record.
        clutter: `ignore` gives a network without the clutter class (its pixels are 255 in training), `class` one with.
        window: side of training and evaluation windows in pixels.
        stride: of evaluation windows; None means half a window.
        batch_size: training windows per step and device.
        eval_batch_size: evaluation windows decoded together; None means `batch_size`.
        normalization: {modality: rule}, see `normalize.RULES`; missing ones take the default of their kind.
        scale_jitter: range of the zoom factor in training.
        colour_jitter: strength on optical modalities in training.
        nadir: quarter turns and vertical flips in training; None takes it from the store.
        num_workers: reading processes per loader; None means half the cores, at most 4.
        seed: base of the draws.

    Raises:
        UserError: store absent or half imported; a modality, raster, label, split or class setting it does not have.
    """

    # a rank may get no scene at all when there are fewer scenes than processes
    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(
        self,
        name: str,
        store: str = "data/stores",
        modalities: list[str] | None = None,
        rasters: dict[str, str] | None = None,
        split: str = "split_standard",
        train_label: str = "label",
        score_label: str = "label",
        clutter: Literal["ignore", "class"] = "ignore",
        window: int = 512,
        stride: int | None = None,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        normalization: dict[str, str | dict[str, list[float]]] | None = None,
        scale_jitter: tuple[float, float] = (0.5, 2.0),
        colour_jitter: float = 0.2,
        nadir: bool | None = None,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.store = SceneStore.open(Path(store).expanduser() / name)
        self.name, self.split_column, self.seed = name, split, seed
        self.train_label, self.score_label, self.clutter = train_label, score_label, clutter
        self.window, self.stride = window, stride or max(1, window // 2)
        if not 1 <= self.stride <= window:
            raise UserError(
                f"stride {self.stride} must lie between 1 and the window of {window} px."
            )
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.scale_jitter, self.colour_jitter = (
            (float(scale_jitter[0]), float(scale_jitter[1])),
            colour_jitter,
        )
        self.nadir = bool(self.store.info.get("nadir", False)) if nadir is None else nadir
        self.num_workers = (
            min(4, (os.cpu_count() or 1) // 2) if num_workers is None else num_workers
        )
        self.rasters = self._resolve_rasters(modalities, rasters or {})
        for label in (train_label, score_label):
            if label not in self.store.labels:
                raise UserError(
                    f"{name} has no label column {label!r}; it has {', '.join(self.store.labels)}."
                )
        self.splits = self.store.split(split)
        for part in ("train", "test"):
            if not self.splits.get(part):
                raise UserError(
                    f"{name}: no scene has {part!r} in {split}; train and test scenes are required."
                )
        self.layers = self._layers(normalization or {})

    # ---- what a network and a table need to know -------------------------------------------------------------------

    @property
    def modalities(self) -> dict[str, Modality]:
        """{name: description of the raster behind it}, in the order of the table."""
        return {name: self.store.modalities[raster] for name, raster in self.rasters.items()}

    @property
    def channels(self) -> dict[str, int]:
        """{modality: number of bands}, in the order of the table."""
        return {name: modality.channels for name, modality in self.modalities.items()}

    @property
    def letters(self) -> dict[str, str]:
        """{modality: letter}, in the order of the table."""
        return {name: modality.letter for name, modality in self.modalities.items()}

    @property
    def outputs(self) -> list[int]:
        """Store ids of the classes a network predicts, in the order of its output channels."""
        return [c.id for c in self.store.classes if not (c.clutter and self.clutter == "ignore")]

    @property
    def num_classes(self) -> int:
        """Number of output channels K."""
        return len(self.outputs)

    @property
    def ignore_index(self) -> int:
        """Label of pixels without a class."""
        return IGNORE

    @property
    def label_map(self) -> np.ndarray:
        """uint8 table of 256 entries from stored id to output channel (255 = ignore)."""
        table = np.full(256, IGNORE, np.uint8)
        table[self.outputs] = np.arange(self.num_classes)
        return table

    @property
    def split_note(self) -> str:
        """What a reader of numbers on this split has to know (that its parts share ground, say); mostly nothing."""
        return str(self.store.info.get("split_notes", {}).get(self.split_column, ""))

    @property
    def has_validation(self) -> bool:
        """Whether the split declares validation scenes."""
        return bool(self.splits.get("val"))

    def evaluation_windows(self, part: str) -> EvaluationWindows:
        """The covering windows of `val` or `test`, as the loaders read them."""
        full = "label" if "label" in self.store.labels else self.score_label
        eroded = "label_eroded" if "label_eroded" in self.store.labels and full == "label" else None
        return EvaluationWindows(
            self.splits[part], self.layers, full, eroded, self.window, self.stride
        )

    # ---- loaders ---------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Random windows in full batches, an equal share per rank."""
        scenes = self.splits["train"]
        self._warn_small(scenes)
        dataset = TrainingWindows(
            scenes,
            self.layers,
            self.train_label,
            self.label_map,
            self.window,
            self.scale_jitter,
            self.colour_jitter,
            self.nadir,
            self.seed,
        )
        rank, world_size = self._place()
        patterns = [
            available_layers(dataset.scene_at(index), self.layers) for index in range(len(dataset))
        ]
        return self._loader(
            dataset, TrainingBatches(patterns, self.batch_size, self.seed, rank, world_size)
        )

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Covering windows of the validation scenes."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Covering windows of the test scenes."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, part: str) -> DataLoader[dict[str, Any]]:
        dataset = self.evaluation_windows(part)
        rank, world_size = self._place()
        share = share_scenes([scene.height * scene.width for scene in dataset.scenes], world_size)[
            rank
        ]
        patterns = [
            (
                available_layers(dataset.scene_at(index), self.layers),
                dataset.row_of_windows(index, self.eval_batch_size),
            )
            for index in range(len(dataset))
        ]
        return self._loader(
            dataset,
            EvaluationBatches(patterns, dataset.scene_of_index, share, self.eval_batch_size),
        )

    def _loader(
        self, dataset: Dataset[dict[str, Any]], batches: TrainingBatches | EvaluationBatches
    ) -> DataLoader[dict[str, Any]]:
        return DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=self.num_workers,
            collate_fn=partial(collate_windows, modalities=list(self.rasters)),
            persistent_workers=self.num_workers > 0,
            pin_memory=bool(self.trainer and self.trainer.strategy.root_device.type == "cuda"),
        )

    # ---- helpers ---------------------------------------------------------------------------------------------------

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _resolve_rasters(
        self, modalities: list[str] | None, rasters: dict[str, str]
    ) -> dict[str, str]:
        names = modalities or list(self.store.modalities)
        resolved = {name: rasters.get(name, name) for name in names}
        for name, raster in resolved.items():
            if raster not in self.store.modalities:
                have = ", ".join(self.store.modalities)
                raise UserError(
                    f"{self.name}: modality {name!r} needs the raster {raster!r}; the store has {have}."
                )
        letters = [self.store.modalities[raster].letter for raster in resolved.values()]
        if len(set(letters)) < len(letters):
            raise UserError(
                f"{self.name}: modalities {', '.join(names)} share a letter ({'+'.join(letters)}); name a set whose "
                "letters differ with --data.modalities."
            )
        return resolved

    def _layers(self, rules: dict[str, Rule]) -> list[InputLayer]:
        unknown = set(rules) - set(self.rasters)
        if unknown:
            raise UserError(
                f"normalization names {', '.join(sorted(unknown))}, which {self.name} does not use."
            )
        layers = []
        for name, raster in self.rasters.items():
            modality = self.store.modalities[raster]
            every = {
                scene: columns[raster]
                for scene, columns in self.store.statistics.items()
                if raster in columns
            }
            training = {
                scene.id: every[scene.id] for scene in self.splits["train"] if scene.id in every
            }
            if not training:
                raise UserError(
                    f"{self.name}: no training scene has {name!r}; leave it out with --data.modalities."
                )
            normalizer = fit_normalizer(
                modality, rules.get(name, default_rule(modality)), training, every
            )
            top = (
                float(np.iinfo(modality.dtype).max)
                if modality.kind == "optical" and "int" in modality.dtype
                else None
            )
            layers.append(InputLayer(name, raster, modality.channels, normalizer, top))
        return layers

    def _warn_small(self, scenes: Sequence[Scene]) -> None:
        small = [scene.id for scene in scenes if min(scene.height, scene.width) < self.window]
        if small:
            warnings.warn(
                f"{len(small)} training scenes are smaller than the window of {self.window} px and are padded "
                f"(first: {small[0]}); pixels beyond a scene carry no label.",
                stacklevel=2,
            )
