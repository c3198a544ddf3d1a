"""MissingModalityEvaluation: encode once, decode every subset, count every pixel once."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import lightning as L
import numpy as np
from torch import Tensor

from benchmark.evaluation import protocol
from benchmark.evaluation.divergence import all_finite, require_finite
from benchmark.evaluation.inference import present_modalities, select_entries
from benchmark.evaluation.subset_confusion import SceneWindows, Stitching, SubsetConfusion
from benchmark.metrics.confusion import Absent
from benchmark.metrics.result import EvaluationResult
from benchmark.metrics.subsets import modality_subsets, subset_name
from benchmark.metrics.summaries import average_top1_last1
from datamodules.base import SceneDataModule
from datamodules.loading.datasets import EvaluationWindows
from methods.base import AnyModalitySegmenter
from usererror import UserError

Entries = Callable[[], Mapping[str, Any]]


class MissingModalityEvaluation(L.Callback):
    """Score every non-empty subset of the modalities in validation and test.

    `validation_step` and `test_step` return `{"encoded": ...}`; this callback decodes each subset
    inside the precision plugin's context and counts it with `SubsetConfusion`. `result` holds the
    last evaluation. A subset of which the network sees nothing is not scored.

    Logs `val/average_miou`, `val/top1_miou`, `val/last1_miou` and `val/miou/<subset>` (`test/...`
    in test), in [0, 1]. In validation the summaries are over what the network sees, in test they
    are nan unless it sees all subsets.

    Args:
        stitching: `logits` or `probabilities` are summed where windows overlap.
        absent: what a class without evidence counts in the logged scores, see `metrics.Convention`.
        block: approximate side in pixels of the blocks that are counted apart (for intervals).
        subsets: the only ones that are scored, named as in tables (`S`, `R+S`); None: all. The
            logged summaries are over these.

    Example:
        >>> evaluation = MissingModalityEvaluation(stitching="probabilities")
        >>> trainer = L.Trainer(callbacks=[evaluation], logger=False, accelerator="cpu")

    Then `trainer.test(model, data)`, and `evaluation.result` has the counts.
    """

    def __init__(
        self,
        stitching: Stitching = "logits",
        absent: Absent = "exclude",
        block: int = 1000,
        subsets: list[str] | None = None,
    ) -> None:
        self.stitching, self.absent, self.block = stitching, absent, block
        self.subsets = subsets
        self.result: EvaluationResult | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Raise a UserError if nothing that is scored shows the network anything."""
        assert isinstance(pl_module, AnyModalitySegmenter)
        cases = self.cases(protocol.datamodule_of(trainer))
        if not any(map(pl_module.sees, cases.values())):
            sees = ", ".join(filter(lambda name: pl_module.sees([name]), pl_module.modalities))
            text = f"This protocol scores {', '.join(cases)}, but the network sees {sees} alone"
            raise UserError(f"{text}: choose another METHOD or PROTOCOL.")

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
        assert isinstance(pl_module, AnyModalitySegmenter)
        decoded = self._decode_cases(trainer, pl_module, outputs["encoded"], batch)
        scene, window = batch["scene_number"].tolist(), batch["window"].tolist()
        self._confusion.update(decoded, batch["mask"], batch["region"], scene, window)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the counts of all ranks as `result`, and log its scores."""
        data = protocol.datamodule_of(trainer)
        require_finite(trainer, self._finite, f"the logits of the {self._part} scenes are")
        # `compute` sums the ranks; a rank holds zeros for scenes it did not see
        counts = [scene.cpu().numpy() for scene in self._confusion.compute()]
        assert isinstance(pl_module, AnyModalitySegmenter)
        self.result = evaluation_result(data, self._windows, self.cases(data), counts, pl_module)
        # the counts of DELIVER's 1,897 scenes are 140 MB that training needs not keep
        del self._confusion, self._windows
        scores = self.result.scores(protocol.convention_of(data, self.absent))
        # a checkpoint is chosen by the subsets that the network sees; a result needs all of them
        names = list(scores) if self._part == "test" else []
        summary = average_top1_last1([entry.miou for entry in scores.values()], names)
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
            list(self.cases(data)),
            labels=len(data.store.classes),
            outputs=data.num_classes,
            scenes=scene_windows(self._windows),
            regions=len(protocol.counted_regions(self._windows)),
            block=self.block,
            stitching=self.stitching,
        ).to(trainer.strategy.root_device)

    def cases(self, data: SceneDataModule) -> Mapping[str, tuple[str, ...]]:
        """Name what is scored, and the modalities that a scene needs for it.

        Raises:
            UserError: the protocol names a subset that the data has not.
        """
        subsets = modality_subsets(list(data.modalities))
        named = {subset_name(subset, data.letters): subset for subset in subsets}
        if self.subsets is None:
            return named
        # letters in any order
        wanted = {frozenset(name.split("+")): name for name in self.subsets}
        chosen = {name: named[name] for name in named if frozenset(name.split("+")) in wanted}
        if not chosen or len(chosen) < len(wanted):
            unknown = wanted.keys() - set(map(frozenset, (name.split("+") for name in named)))
            what = ", ".join(sorted(wanted[one] for one in unknown)) or "none"
            have = f"{data.name} has the sensors {'+'.join(data.letters.values())}"
            raise UserError(f"This protocol scores the subsets {what}, but {have}.")
        return chosen

    def case_entries(
        self,
        model: AnyModalitySegmenter,
        encoded: Mapping[str, Any],
        batch: Mapping[str, Any],
        data: SceneDataModule,
    ) -> Iterator[tuple[str, Entries]]:
        """Yield how to make what a case decodes, for cases that the batch and the network take."""
        for name, subset in self.cases(data).items():
            # else the scenes really lack a modality, or it is not looked at; `scored` says so
            if encoded.keys() >= set(subset) and model.sees(subset):
                yield name, partial(select_entries, encoded, subset)

    def _decode_cases(
        self,
        trainer: L.Trainer,
        model: AnyModalitySegmenter,
        encoded: Mapping[str, Any],
        batch: Mapping[str, Any],
    ) -> Iterator[tuple[str, Tensor]]:
        """Decode one case after another, so that the logits of one are in memory at a time."""
        data, size = protocol.datamodule_of(trainer), batch["mask"].shape[-2:]
        for name, make_entries in self.case_entries(model, encoded, batch, data):
            # the callback runs outside of the step, whose precision context is closed by now
            with trainer.precision_plugin.val_step_context():
                logits = model.decode(make_entries(), size)
            # of NaN the argmax is a class like any other
            self._finite = all_finite([logits]) & self._finite
            yield name, logits


def scene_windows(windows: EvaluationWindows) -> list[SceneWindows]:
    """Sort an evaluation split's windows by scene."""
    scenes = [SceneWindows(scene.height, scene.width, []) for scene in windows.scenes]
    for number, window in zip(windows.scene_of_index, windows.places, strict=True):
        scene = scenes[number]
        scene.windows.append(protocol.clip_to_scene(window, scene.height, scene.width))
    return scenes


def evaluation_result(
    data: SceneDataModule,
    windows: EvaluationWindows,
    cases: Mapping[str, tuple[str, ...]],
    counts: list[np.ndarray],
    model: AnyModalitySegmenter,
) -> EvaluationResult:
    """Name the axes of the counts of all scenes; `cases` need modalities to be scored."""
    conditions: dict[str, list[str]] = {}
    seen = np.array(list(map(model.sees, cases.values())))
    scored = np.ones((len(cases), len(windows.scenes)), bool)
    for number, scene in enumerate(windows.scenes):
        conditions[scene.id] = []
        for column in data.store.info.get("conditions", []):
            if value := scene.attributes.get(column):
                conditions[scene.id].append(f"{column}={value}")
        present = set(present_modalities(data, scene))
        scored[:, number] = seen & list(map(present.issuperset, cases.values()))
    return EvaluationResult(
        subsets=tuple(cases),
        scenes=tuple(conditions),
        conditions=conditions,
        regions=protocol.counted_regions(windows),
        labels=tuple(entry.name for entry in data.store.classes),
        counts=counts,
        scored=scored,
    )
