"""MissingModalityEvaluation: encode once, decode every subset, count every pixel once."""

from collections.abc import Iterator, Mapping
from typing import Any

import lightning as L
import numpy as np
from torch import Tensor

from benchmark.evaluation import protocol
from benchmark.evaluation.divergence import all_finite, require_finite
from benchmark.evaluation.inference import decode_subset, present_modalities
from benchmark.evaluation.subset_confusion import SceneWindows, Stitching, SubsetConfusion
from benchmark.metrics.confusion import Absent
from benchmark.metrics.result import EvaluationResult
from benchmark.metrics.subsets import modality_subsets, subset_name
from benchmark.metrics.summaries import average_top1_last1
from datamodules.base import SceneDataModule
from datamodules.loading.datasets import EvaluationWindows
from methods.base import AnyModalitySegmenter


class MissingModalityEvaluation(L.Callback):
    """Score every non-empty subset of the modalities in validation and test.

    `validation_step` and `test_step` return `{"encoded": ...}`; this callback decodes each subset
    inside the precision plugin's context and counts it with `SubsetConfusion`. `result` holds the
    last evaluation.

    Logs `val/average_miou`, `val/top1_miou`, `val/last1_miou` and `val/miou/<subset>` (`test/...`
    in test), in [0, 1].

    Args:
        stitching: `logits` or `probabilities` are summed where windows overlap.
        absent: what a class without evidence counts in the logged scores, see `metrics.Convention`.
        block: approximate side in pixels of the blocks that are counted apart (for intervals).

    Example:
        >>> evaluation = MissingModalityEvaluation(stitching="probabilities")
        >>> trainer = L.Trainer(callbacks=[evaluation], logger=False, accelerator="cpu")
        >>> # trainer.test(model, data), then evaluation.result.scores(...)
    """

    def __init__(
        self, stitching: Stitching = "logits", absent: Absent = "exclude", block: int = 1000
    ) -> None:
        self.stitching, self.absent, self.block = stitching, absent, block
        self.result: EvaluationResult | None = None

    def on_validation_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Start counting the validation scenes."""
        self._start(trainer, "val")

    def on_test_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Start counting the test scenes."""
        self._start(trainer, "test")

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Decode and count a batch of windows under every subset."""
        decoded = self._decode_subsets(trainer, pl_module, outputs["encoded"], batch)
        scene, window = batch["scene_number"].tolist(), batch["window"].tolist()
        self._confusion.update(decoded, batch["mask"], batch["region"], scene, window)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the counts of all ranks as `result`, and log its scores."""
        data = protocol.datamodule_of(trainer)
        require_finite(trainer, self._finite, f"the logits of the {self._part} scenes are")
        # `compute` sums the ranks; a rank holds zeros for scenes it did not see
        counts = [scene.cpu().numpy() for scene in self._confusion.compute()]
        self.result = evaluation_result(data, self._windows, counts)
        # the counts of DELIVER's 1,897 scenes are 140 MB that training needs not keep
        del self._confusion, self._windows
        scores = self.result.scores(protocol.convention_of(data, self.absent))
        summary = average_top1_last1([entry.miou for entry in scores.values()])
        for name, value in summary._asdict().items():
            pl_module.log(f"{self._part}/{name}_miou", value)
        for name, entry in scores.items():
            pl_module.log(f"{self._part}/miou/{name}", entry.miou)

    # validation and test differ in their scenes alone
    on_validation_batch_end = on_test_batch_end
    on_validation_epoch_end = on_test_epoch_end

    def _start(self, trainer: L.Trainer, part: str) -> None:
        # made anew for every pass: validation and test have other scenes, and so other sizes
        data = protocol.datamodule_of(trainer)
        self._part, self._windows = part, data.evaluation_windows(part)
        self._finite: Tensor | bool = True
        self._confusion = SubsetConfusion(
            subset_names(data),
            labels=len(data.store.classes),
            outputs=data.num_classes,
            scenes=scene_windows(self._windows),
            regions=len(protocol.counted_regions(self._windows)),
            block=self.block,
            stitching=self.stitching,
        ).to(trainer.strategy.root_device)

    def _decode_subsets(
        self,
        trainer: L.Trainer,
        model: L.LightningModule,
        encoded: Mapping[str, Any],
        batch: Mapping[str, Any],
    ) -> Iterator[tuple[str, Tensor]]:
        """Decode one subset after another, so that the logits of one are in memory at a time."""
        assert isinstance(model, AnyModalitySegmenter)
        data, size = protocol.datamodule_of(trainer), batch["mask"].shape[-2:]
        for subset in modality_subsets(list(data.modalities)):
            if not encoded.keys() >= set(subset):
                continue  # the scenes of this batch really lack a modality; `scored` says so
            # the callback runs outside of the step, whose precision context is closed by now
            with trainer.precision_plugin.val_step_context():
                logits = decode_subset(model, encoded, subset, size)
            # of NaN the argmax is a class like any other
            self._finite = all_finite([logits]) & self._finite
            yield subset_name(subset, data.letters), logits


def subset_names(data: SceneDataModule) -> list[str]:
    """Name all subsets of a dataset's modalities, in table order."""
    subsets = modality_subsets(list(data.modalities))
    return [subset_name(subset, data.letters) for subset in subsets]


def scene_windows(windows: EvaluationWindows) -> list[SceneWindows]:
    """Sort an evaluation split's windows by scene."""
    scenes = [SceneWindows(scene.height, scene.width, []) for scene in windows.scenes]
    for number, window in zip(windows.scene_of_index, windows.places, strict=True):
        scene = scenes[number]
        scene.windows.append(protocol.clip_to_scene(window, scene.height, scene.width))
    return scenes


def evaluation_result(
    data: SceneDataModule, windows: EvaluationWindows, counts: list[np.ndarray]
) -> EvaluationResult:
    """Name the axes of the counts of all scenes."""
    conditions: dict[str, list[str]] = {}
    subsets = modality_subsets(list(data.modalities))
    scored = np.ones((len(subsets), len(windows.scenes)), bool)
    for number, scene in enumerate(windows.scenes):
        conditions[scene.id] = []
        for column in data.store.info.get("conditions", []):
            if value := scene.attributes.get(column):
                conditions[scene.id].append(f"{column}={value}")
        present = set(present_modalities(data, scene))
        scored[:, number] = list(map(present.issuperset, subsets))
    return EvaluationResult(
        subsets=tuple(subset_names(data)),
        scenes=tuple(conditions),
        conditions=conditions,
        regions=protocol.counted_regions(windows),
        labels=tuple(entry.name for entry in data.store.classes),
        counts=counts,
        scored=scored,
    )
