"""What W&B shows beside numbers: fixed example scenes with predictions, and the method's own diagnostics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor

from benchmark.evaluation.inference import (
    crop_top_left,
    evenly_spaced,
    iter_windows,
    modality_picture,
    predict_all_subsets,
    present_modalities,
)
from benchmark.metrics.subsets import modality_subsets
from datamodules.base import SceneDataModule
from datamodules.store.rendering import ignore_colour, render_label
from datamodules.store.scene_store import Scene

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI

EXAMPLES = 4
SIDE = 512  # pixels a side of an example, from its scene's upper left corner

Array = npt.NDArray[Any]


def example_scenes(data: SceneDataModule) -> list[Scene]:
    """The scenes that every run of a dataset and split shows: of validation if there are any, else of training.

    Scenes that have all modalities come before others; method, seed and test scenes have no say.
    """
    scenes = sorted(data.splits.get("val") or data.splits["train"], key=lambda scene: scene.id)
    whole = [
        scene for scene in scenes if all(raster in scene.paths for raster in data.rasters.values())
    ]
    return [crop_top_left(scene, SIDE) for scene in evenly_spaced(whole or scenes, EXAMPLES)]


class ExampleLogging(L.Callback):
    """Logs examples and diagnostics to W&B; without any influence on the run, whose random draws it gives back.

    After a validation: `diagnostics/<name>`, means over a few windows, and `examples/prediction/<full set>`. After the
    test also the predictions of every other subset, `examples/<modality>`, `examples/label` and `diagnostics/<name>`
    maps under `maps/<name>`. Every image key holds one picture per example scene, maps one per window.

    Args:
        cli: the cell; its trainer has a W&B logger.
    """

    def __init__(self, cli: BenchCLI) -> None:
        self.cli = cli

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        self._log(trainer, last=False)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        self._log(trainer, last=True)

    def _log(self, trainer: L.Trainer, last: bool) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        device = trainer.strategy.root_device
        with (
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            torch.inference_mode(),
        ):
            torch.manual_seed(
                0
            )  # what a method draws for its diagnostics is the same after every validation
            with trainer.precision_plugin.val_step_context():
                content = example_images(self.cli, last) | diagnostic_values(self.cli, last)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_metrics(content, trainer.global_step)


def example_images(cli: BenchCLI, everything: bool) -> dict[str, Any]:
    """{key: one W&B image per example scene}: the full set's predictions, or with `everything` all there is to see."""
    from wandb import Image

    data = cli.datamodule
    found: dict[str, list[Image]] = {}
    black = ignore_colour(data.store.classes)
    for scene in example_scenes(data):
        present = present_modalities(data, scene)
        predicted, truth = predict_all_subsets(
            cli.model, data, scene, modality_subsets(present) if everything else [tuple(present)]
        )
        valid = np.isin(truth, data.outputs)
        pictures: dict[str, tuple[Array, str]] = {}
        if everything:
            for name in present:
                pictures[name] = (
                    grey_or_colour(modality_picture(data, scene, name, *truth.shape)),
                    "",
                )
            pictures["label"] = render_label(truth, data.store.classes, black), ""
        for name, ids in predicted.items():
            right = f", {100 * (ids == truth)[valid].mean():.0f} % right" if valid.any() else ""
            pictures[f"prediction/{name}"] = render_label(ids, data.store.classes, black), right
        for name, (picture, note) in pictures.items():
            found.setdefault(f"examples/{name}", []).append(
                Image(picture, caption=f"{scene.id}{note}")
            )
    return found


def diagnostic_values(cli: BenchCLI, maps: bool) -> dict[str, Any]:
    """{key: mean} of what the method's `diagnostics` say of a few windows, and with `maps` its maps as images."""
    from wandb import Image

    batch, captions = diagnostic_batch(cli)
    found: dict[str, Any] = {}
    for name, values in cli.model.diagnostics(batch).items() if captions else ():
        if values.ndim > 3:
            continue  # features: nothing that one picture or number could show
        values = values.float().cpu()
        found[f"diagnostics/{name}"] = float(values.mean())
        if maps and values.ndim == 3:
            side = batch["mask"].shape[-1]
            found[f"maps/{name}"] = [
                Image(grey_or_colour(enlarged(values_of_one, side)), caption=caption)
                for values_of_one, caption in zip(values, captions, strict=True)
            ]
    return found


def diagnostic_batch(cli: BenchCLI) -> tuple[dict[str, Any], list[str]]:
    """A few windows of the example scenes as a training batch, on the model's device, and what they are called.

    It holds the modalities that all of these scenes have; without any, no window.
    """
    data, scenes = cli.datamodule, example_scenes(cli.datamodule)
    names = [
        name
        for name in data.rasters
        if all(name in present_modalities(data, scene) for scene in scenes)
    ]
    if not names:
        return {}, []
    windows = evenly_spaced(
        [(scene.id, batch) for scene in scenes for batch, _ in iter_windows(data, scene)], EXAMPLES
    )
    label_map, like = torch.from_numpy(data.label_map).long(), next(cli.model.parameters())
    batch = {
        "image": {
            name: torch.cat([window["image"][name] for _, window in windows]).to(like)
            for name in names
        },
        "mask": label_map[torch.cat([window["mask"] for _, window in windows])].to(like.device),
    }
    return batch, [f"{name}, {window_name(window)}" for name, window in windows]


def window_name(batch: dict[str, Any]) -> str:
    """`row 0, column 64`."""
    row, column = batch["window"][0, :2].tolist()
    return f"row {row}, column {column}"


def enlarged(values: Tensor, side: int) -> Array:
    """A map h x w with its values repeated until it has about `side` columns."""
    factor = max(1, side // values.shape[-1])
    return values.numpy().repeat(factor, axis=0).repeat(factor, axis=1)


def grey_or_colour(picture: Array) -> Array:
    """Values in [0, 1] as bytes; what is not a number is black."""
    return (255 * np.nan_to_num(picture, nan=0.0).clip(0, 1)).round().astype(np.uint8)
