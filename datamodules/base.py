"""One datamodule over any scene store: classes, modalities, ignore index, windows and loaders."""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
from torch.utils.data import DataLoader

from datamodules.damage.scenario import Scenario
from datamodules.loading.datasets import (
    EvaluationWindows,
    SceneWindows,
    TrainingWindows,
    collate_windows,
)
from datamodules.loading.gaps import draw_scene_gaps, without_rasters
from datamodules.loading.input_layer import InputLayer
from datamodules.loading.normalize import Rule, default_rule, fit_normalizer
from datamodules.loading.samplers import EvaluationBatches, TrainingBatches, share_scenes
from datamodules.processes import usable_cores
from datamodules.store.names import check_name
from datamodules.store.scene_store import IGNORE, Modality, Scene, SceneStore
from usererror import UserError

Loader = DataLoader[dict[str, Any]]
MOST_MODALITIES = 10  # the sums of every subset's logits are held at once


class SceneDataModule(L.LightningDataModule):
    """Batches of windows from a scene store, in the format of `datasets.collate_windows`.

    Args:
        name: dataset name, the folder below `store`.
        store: directory of the scene stores (`~` is expanded).
        modalities: names in the order of the table; None takes all rasters of the store.
        rasters: {modality: raster column} where they differ, e.g. {dsm: ndsm}.
        split: split column of scenes.csv.
        train_label: label column to train on.
        score_label: label column to score on; with `label_eroded` the band along class borders is
            counted apart, so the full-label score can be re-read from the same record.
        clutter: `ignore` gives a network without the clutter class (255 in training), `class` with.
        window: side of training and evaluation windows in pixels.
        stride: of evaluation windows; None means half a window.
        batch_size: training windows per step and device.
        eval_batch_size: evaluation windows decoded together; None means `batch_size`.
        normalization: {modality: rule} of `normalize.RULES`; others take the default of their kind.
        scale_jitter: range of the zoom factor in training.
        colour_jitter: strength on optical modalities in training.
        nadir: quarter turns and vertical flips in training; None takes it from the store.
        num_workers: reading processes per loader; None means half of the cores that
            the process may use, at most 4.
        seed: base of the draws.
        epoch_windows: training windows of an epoch; None takes as many as cover the training
            scenes without overlap.
        sampling: how many of them a scene gets: by `area` (also None), or every `scene` alike.
        quarter_turns: False leaves the mirror images of `nadir` alone.
        rotation: every other window is turned by up to so many degrees; None turns none.
        gap_rates: share of the training scenes that lose a modality, one for all or {modality:
            rate}, see `loading.gaps`; None shows training all that there is.
        gap_seed: base of these draws; None takes `seed`.

    Example:
        >>> import contextlib, io, tempfile
        >>> from datamodules.prepare import ensure_store
        >>> folder = tempfile.TemporaryDirectory()
        >>> with contextlib.redirect_stdout(io.StringIO()):
        ...     ensure_store("vaihingen_miniature", Path(folder.name), size="test")
        >>> data = SceneDataModule("vaihingen_miniature", folder.name, window=32, num_workers=0)
        >>> batch = next(iter(data.test_dataloader()))
        >>> {name: tuple(images.shape) for name, images in batch["image"].items()}
        {'irrg': (8, 3, 32, 32), 'dsm': (8, 1, 32, 32)}
    """

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
        epoch_windows: int | None = None,
        sampling: Literal["area", "scene"] | None = None,
        quarter_turns: bool | None = None,
        rotation: float | None = None,
        gap_rates: float | dict[str, float] | None = None,
        gap_seed: int | None = None,
    ) -> None:
        super().__init__()
        at_least: dict[str, int | None] = {"window": window, "stride": stride}
        at_least |= {"batch_size": batch_size, "eval_batch_size": eval_batch_size}
        at_least["epoch_windows"] = epoch_windows
        for option, given in at_least.items():
            if given is not None and given < 1:
                raise UserError(f"data.{option} is {given}: give 1 or more.")
        for option, share in {"colour_jitter": colour_jitter, "rotation": rotation}.items():
            if share is not None and share < 0:
                raise UserError(f"data.{option} is {share}: give 0 or more.")
        if num_workers is not None and num_workers < 0:
            raise UserError(f"data.num_workers is {num_workers}: give 0 or more reading processes.")
        if not 0 < scale_jitter[0] <= scale_jitter[1]:
            raise UserError(
                f"data.scale_jitter is {scale_jitter}: give a range above 0, as [0.5, 2]."
            )
        self.epoch_windows, self.alike = epoch_windows, sampling == "scene"
        self.quarter_turns, self.rotation = quarter_turns is not False, rotation or 0.0
        self.store = SceneStore.open(Path(store).expanduser() / name)
        self.name, self.split_column, self.seed = name, split, seed
        self.train_label, self.score_label, self.clutter = train_label, score_label, clutter
        # ids of the classes that a network predicts, in the order of its output channels
        self.outputs: list[int] = []
        for entry in self.store.classes:
            if not (entry.clutter and clutter == "ignore"):
                self.outputs.append(entry.id)
        self.window, self.stride = window, max(1, window // 2) if stride is None else stride
        if not 1 <= self.stride <= window:
            limits = f"between 1 and the window of {window} px."
            raise UserError(f"stride {self.stride} must lie {limits}")
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.scale_jitter = (float(scale_jitter[0]), float(scale_jitter[1]))
        self.colour_jitter = colour_jitter
        self.nadir = bool(self.store.info.get("nadir", False)) if nadir is None else nadir
        if num_workers is None:
            # of the cores that the job was given
            num_workers = min(4, usable_cores() // 2)
        self.num_workers = num_workers
        self.scenario: Scenario | None = None  # under which scenes are evaluated
        self.resume_at = (0, 0)  # epoch, and batches in it, that training begins with
        self.rasters = self._resolve_rasters(modalities, rasters or {})
        for label in (train_label, score_label):
            if label not in self.store.labels:
                have = ", ".join(self.store.labels)
                raise UserError(f"{name} has no label column {label!r}; it has {have}.")
        # labels and parts are checked here: a loader's error would come out of a worker process
        self.splits = self.store.split(split)
        for part in ("train", "test"):
            if not self.splits.get(part):
                needed = "train and test scenes are required."
                raise UserError(f"{name}: no scene has {part!r} in {split}; {needed}")
        if gap_rates is None and gap_seed is not None:
            raise UserError("data.gap_seed draws nothing without data.gap_rates: give both.")
        # {scene: modalities that training is not shown}, of scenes that lose any
        self.training_gaps = draw_scene_gaps(
            self.splits["train"],
            self.rasters,
            gap_rates or 0,
            seed if gap_seed is None else gap_seed,
        )
        self.layers = self._fit_layers(normalization or {})

    # ---- what a network and a table need to know ----------------------------------------------

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
    def num_classes(self) -> int:
        """Number of output channels K."""
        return len(self.outputs)

    @property
    def ignore_index(self) -> int:
        """Label of pixels without a class."""
        return IGNORE

    def match_outputs(self, trained: Sequence[str]) -> None:
        """Order `outputs` as a trained network does, whose classes have these names.

        Ids may differ between two datasets with the same classes; what an output means may not.
        """
        ids = {entry.name: entry.id for entry in self.store.classes}
        own = [self.store.classes[number].name for number in self.outputs]
        if sorted(trained) != sorted(own):
            asked = f"the network was trained on the classes {', '.join(trained)}"
            here = f"{self.name} has {', '.join(own)}"
            raise UserError(f"{asked}; {here}: evaluate it on data with the same classes.")
        self.outputs = [ids[name] for name in trained]

    @property
    def label_map(self) -> np.ndarray:
        """uint8 table of 256 entries from stored id to output channel (255 = ignore)."""
        table = np.full(256, IGNORE, np.uint8)
        table[self.outputs] = np.arange(self.num_classes)
        return table

    @property
    def split_note(self) -> str:
        """What limits numbers on this split (that its parts share ground, say); mostly nothing."""
        return str(self.store.info.get("split_notes", {}).get(self.split_column, ""))

    @property
    def has_validation(self) -> bool:
        """Whether the split declares validation scenes."""
        return bool(self.splits.get("val"))

    def training_scenes(self) -> list[Scene]:
        """List the training scenes with what training is shown of them."""
        scenes = []
        for scene in self.splits["train"]:
            lost = self.training_gaps.get(scene.id, ())
            scenes.append(without_rasters(scene, [self.rasters[name] for name in lost]))
        return scenes

    def evaluation_windows(self, part: str) -> EvaluationWindows:
        """Return the covering windows of `val` or `test`, as the loaders read them."""
        full, eroded = self.score_label, None
        # the band along class borders is known only where both kinds of label are there
        if "label" in self.store.labels:
            full = "label"
            eroded = "label_eroded" if "label_eroded" in self.store.labels else None
        scenes = self.splits[part]
        return EvaluationWindows(
            scenes, self.layers, full, eroded, self.window, self.stride, self.scenario
        )

    # ---- loaders --------------------------------------------------------------------------------

    def train_dataloader(self) -> Loader:
        """Load random windows in full batches, an equal share per rank."""
        scenes = self.training_scenes()
        small = [scene.id for scene in scenes if min(scene.height, scene.width) < self.window]
        if small:
            warnings.warn(
                f"{len(small)} training scenes are smaller than the window of {self.window} px "
                f"and are padded (first: {small[0]}); pixels beyond a scene carry no label.",
                stacklevel=2,
            )
        dataset = TrainingWindows(
            scenes, self.layers, self.train_label, self.label_map, self.window, self.scale_jitter,
            self.colour_jitter, self.nadir, self.seed, self.epoch_windows, self.alike,
            self.quarter_turns, self.rotation,
        )  # fmt: skip
        patterns = [dataset.available_at(index) for index in range(len(dataset))]
        rank, ranks = self._rank()
        batches = TrainingBatches(
            patterns, self.batch_size, self.seed, rank, ranks, start=self.resume_at
        )
        return self._loader(dataset, batches)

    def val_dataloader(self) -> Loader:
        """Load covering windows of the validation scenes."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> Loader:
        """Load covering windows of the test scenes."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, part: str) -> Loader:
        dataset, size = self.evaluation_windows(part), self.eval_batch_size
        rank, world_size = self._rank()
        pixels = [scene.height * scene.width for scene in dataset.scenes]
        share = share_scenes(pixels, world_size)[rank]
        indices = range(len(dataset))
        patterns = [(dataset.available_at(i), dataset.row_of_windows(i, size)) for i in indices]
        batches = EvaluationBatches(patterns, dataset.scene_of_index, share, size)
        return self._loader(dataset, batches)

    def _loader(
        self, dataset: SceneWindows, batches: TrainingBatches | EvaluationBatches
    ) -> Loader:
        return DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=self.num_workers,
            collate_fn=partial(collate_windows, modalities=list(self.rasters)),
            # workers keep their open files from one epoch to the next
            persistent_workers=self.num_workers > 0,
            # pinned memory makes copies to a GPU asynchronous, and is a waste without one
            pin_memory=bool(self.trainer and self.trainer.strategy.root_device.type == "cuda"),
        )

    # ---- helpers --------------------------------------------------------------------------------

    def _rank(self) -> tuple[int, int]:
        """Return (rank, number of ranks); without a trainer there is one."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _resolve_rasters(
        self, modalities: list[str] | None, rasters: dict[str, str]
    ) -> dict[str, str]:
        names = list(self.store.modalities) if modalities is None else modalities
        if not names or len(set(names)) < len(names):
            listed = f"data.modalities is [{', '.join(names)}]"
            raise UserError(f"{listed}: name each of them once, or leave it out for all.")
        resolved = {name: rasters.get(name, name) for name in names}
        letters: list[str] = []
        for name, raster in resolved.items():
            if raster not in self.store.modalities:
                have = ", ".join(self.store.modalities)
                needs = f"modality {name!r} needs the raster {raster!r}"
                raise UserError(f"{self.name}: {needs}; the store has {have}.")
            # both become names of files
            check_name("modality", name)
            check_name("letter", self.store.modalities[raster].letter)
            letters.append(self.store.modalities[raster].letter)
        if len(names) > MOST_MODALITIES:
            number = f"{self.name}: {len(names)} modalities have {2 ** len(names) - 1} subsets"
            raise UserError(f"{number}; name {MOST_MODALITIES} or fewer with --data.modalities.")
        if len(set(letters)) < len(letters):
            raise UserError(
                f"{self.name}: modalities {', '.join(names)} share a letter "
                f"({'+'.join(letters)}); name a set whose letters differ with --data.modalities."
            )
        return resolved

    def _fit_layers(self, rules: Mapping[str, Rule]) -> list[InputLayer]:
        """Fit the normalisation of every modality on the training scenes of this split."""
        unknown = set(rules) - set(self.rasters)
        if unknown:
            listed = ", ".join(sorted(unknown))
            raise UserError(f"normalization names {listed}, which {self.name} does not use.")
        layers, scenes = [], self.training_scenes()
        for name, raster in self.rasters.items():
            modality = self.store.modalities[raster]
            columns = self.store.statistics.items()
            every = {scene: kept[raster] for scene, kept in columns if raster in kept}
            training = {s.id: every[s.id] for s in scenes if raster in s.paths}
            if not training:
                advice = "leave it out with --data.modalities."
                if any(name in lost for lost in self.training_gaps.values()):
                    advice = "lower data.gap_rates, or draw others with data.gap_seed."
                raise UserError(f"{self.name}: no training scene has {name!r}; {advice}")
            rule = rules.get(name, default_rule(modality))
            normalizer = fit_normalizer(modality, rule, training, every)
            # float images have no largest value to clip to, so their colours stay as they are
            counts = modality.kind == "optical" and "int" in modality.dtype
            top = float(np.iinfo(modality.dtype).max) if counts else None
            layers.append(
                InputLayer(name, raster, modality.channels, normalizer, top, modality.unit, every)
            )
        return layers
