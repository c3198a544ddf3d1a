"""MissingModalityEvaluation: encode once, decode every subset, count every pixel once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from benchmark.evaluation.confusion_counter import Place, SceneCounter, Stitching, block_grid
from benchmark.evaluation.protocol import (
    convention_of,
    datamodule_of,
    inside,
    regions_of,
)
from benchmark.metrics.confusion import Absent
from benchmark.metrics.result import EvaluationResult
from benchmark.metrics.subsets import modality_subsets, subset_name
from benchmark.metrics.summaries import average_top1_last1
from datamodules.base import SceneDataModule
from datamodules.loading.datasets import EvaluationWindows
from methods.base import AnyModalitySegmenter

STAGES = {"validate": "val", "fit": "val", "test": "test"}


@dataclass
class _Pass:
    """State of one run over an evaluation split."""

    part: str
    windows: EvaluationWindows
    places: list[list[Place]]
    counters: dict[int, SceneCounter] = field(default_factory=dict)
    finished: dict[int, Tensor] = field(default_factory=dict)


class MissingModalityEvaluation(L.Callback):
    """Scores every non-empty subset of the modalities in validate and test.

    `validation_step` and `test_step` return `{"encoded": ...}`; this callback decodes each subset inside the precision
    plugin's context, stitches overlapping windows and keeps int64 counts per subset and scene. In distributed runs each
    rank holds whole scenes and the counts are summed. `result` holds the last evaluation.

    Logs `val/average_miou`, `val/top1_miou`, `val/last1_miou` and `val/miou/<subset>` (`test/...` in test), in [0, 1].

    Args:
        stitching: `logits` or `probabilities` are summed where windows overlap.
        absent: what a class without evidence counts in the logged scores, see `metrics.Convention`.
        block: approximate side in pixels of the blocks that are counted apart (for intervals).
    """

    def __init__(
        self, stitching: Stitching = "logits", absent: Absent = "exclude", block: int = 1000
    ) -> None:
        self.stitching, self.absent, self.block = stitching, absent, block
        self.result: EvaluationResult | None = None
        self._pass: _Pass | None = None

    # ---- Lightning hooks: validation and test are the same thing ---------------------------------------------------

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        self._start(trainer, "val")

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        self._start(trainer, "test")

    def on_validation_batch_end(  # noqa: D102
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._score_batch(trainer, pl_module, outputs, batch)

    def on_test_batch_end(  # noqa: D102
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._score_batch(trainer, pl_module, outputs, batch)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        self._finish(trainer, pl_module)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        self._finish(trainer, pl_module)

    # ---- the work --------------------------------------------------------------------------------------------------

    def _start(self, trainer: L.Trainer, part: str) -> None:
        data = datamodule_of(trainer)
        windows = data.evaluation_windows(part)
        places: list[list[Place]] = [[] for _ in windows.scenes]
        for number, window in zip(windows.scene_of_index, windows.places, strict=True):
            places[number].append(
                inside(window, windows.scenes[number].height, windows.scenes[number].width)
            )
        self._pass = _Pass(part, windows, places)

    def _counter(self, trainer: L.Trainer, number: int, device: torch.device) -> SceneCounter:
        assert self._pass is not None
        if number not in self._pass.counters:
            data, scene = datamodule_of(trainer), self._pass.windows.scenes[number]
            self._pass.counters[number] = SceneCounter(
                scene.height,
                scene.width,
                self._pass.places[number],
                subsets=2 ** len(data.modalities) - 1,
                regions=len(regions_of(self._pass.windows)),
                labels=len(data.store.classes),
                outputs=data.num_classes,
                block=self.block,
                stitching=self.stitching,
                device=device,
            )
        return self._pass.counters[number]

    def _score_batch(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Mapping[str, Any],
        batch: Mapping[str, Any],
    ) -> None:
        assert self._pass is not None and isinstance(pl_module, AnyModalitySegmenter)
        mask, region, encoded = batch["mask"], batch["region"], outputs["encoded"]
        members: dict[int, list[int]] = {}
        for position, number in enumerate(batch["scene_number"].tolist()):
            members.setdefault(number, []).append(position)
        places = [tuple(window) for window in batch["window"].tolist()]
        for number, positions in members.items():
            self._counter(trainer, number, mask.device).prepare(
                [places[p] for p in positions],
                [mask[p] for p in positions],
                [region[p] for p in positions],
            )
        size = (mask.shape[-2], mask.shape[-1])
        for subset_number, subset in enumerate(
            modality_subsets(list(datamodule_of(trainer).modalities))
        ):
            if any(name not in encoded for name in subset):
                continue  # the scenes of this batch really lack a modality; `scored` says so
            with trainer.precision_plugin.val_step_context():
                logits = pl_module.decode({name: encoded[name] for name in subset}, size)
            for number, positions in members.items():
                for position in positions:
                    self._pass.counters[number].add(
                        subset_number, places[position], logits[position]
                    )
        for number, positions in members.items():
            if self._pass.counters[number].done([places[p] for p in positions]):
                self._pass.finished[number] = self._pass.counters.pop(number).result()

    def _finish(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert self._pass is not None
        current, data = self._pass, datamodule_of(trainer)
        self.result = self._gather(trainer, data, current)
        self._pass = None
        scores = self.result.scores(convention_of(data, self.absent))
        summary = average_top1_last1([entry.miou for entry in scores.values()])
        for name, value in summary._asdict().items():
            pl_module.log(f"{current.part}/{name}_miou", value, prog_bar=name == "average")
        for name, entry in scores.items():
            pl_module.log(f"{current.part}/miou/{name}", entry.miou)

    def _gather(
        self, trainer: L.Trainer, data: SceneDataModule, current: _Pass
    ) -> EvaluationResult:
        """Sum the ranks' counts; a rank holds zeros for scenes it did not see."""
        subsets, regions = modality_subsets(list(data.modalities)), regions_of(current.windows)
        device = trainer.strategy.root_device
        counts = []
        for number, scene in enumerate(current.windows.scenes):
            mine = current.finished.get(number)
            if mine is None:
                blocks = block_grid(scene.height, scene.width, self.block)
                mine = torch.zeros(
                    len(subsets),
                    blocks[0] * blocks[1],
                    len(regions),
                    len(data.store.classes),
                    data.num_classes,
                ).long()
            counts.append(mine)
        if trainer.world_size > 1:
            flat = torch.cat([entry.flatten() for entry in counts]).to(device)
            flat = trainer.strategy.reduce(flat, reduce_op="sum").cpu()
            parts = flat.split([entry.numel() for entry in counts])
            counts = [part.reshape(entry.shape) for part, entry in zip(parts, counts, strict=True)]
        scenes = current.windows.scenes
        return EvaluationResult(
            subsets=tuple(subset_name(subset, data.letters) for subset in subsets),
            scenes=tuple(scene.id for scene in scenes),
            conditions={
                scene.id: [
                    f"{column}={scene.attributes[column]}"
                    for column in data.store.info.get("conditions", [])
                    if scene.attributes.get(column)
                ]
                for scene in scenes
            },
            regions=regions,
            labels=tuple(entry.name for entry in data.store.classes),
            counts=[entry.numpy() for entry in counts],
            scored=np.array(
                [
                    [all(data.rasters[name] in scene.paths for name in subset) for scene in scenes]
                    for subset in subsets
                ]
            ),
        )
