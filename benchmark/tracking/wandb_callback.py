"""What W&B shows beside numbers: example scenes with predictions, and the method's diagnostics."""

from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.loggers import WandbLogger

from benchmark.evaluation import inference
from benchmark.evaluation.inference import evenly_spaced, present_modalities
from benchmark.evaluation.protocol import datamodule_of
from benchmark.metrics.subsets import modality_subsets
from datamodules.base import SceneDataModule
from datamodules.store.rendering import ignore_colour, render_label
from datamodules.store.scene_store import Scene
from methods.base import AnyModalitySegmenter

EXAMPLES = 4
SIDE = 512  # pixels a side of an example, from its scene's upper left corner

Array = npt.NDArray[Any]


def example_scenes(data: SceneDataModule) -> list[Scene]:
    """Choose the scenes that every run of a dataset and split shows, whatever method and seed."""
    # of validation if there are any; test scenes have no say
    scenes = sorted(data.splits.get("val") or data.splits["train"], key=lambda scene: scene.id)
    rasters = set(data.rasters.values())
    whole = [scene for scene in scenes if rasters <= set(scene.paths)]
    chosen = evenly_spaced(whole or scenes, EXAMPLES)
    return [inference.crop_top_left(scene, SIDE) for scene in chosen]


class ExampleLogging(L.Callback):
    """Log examples and diagnostics to W&B, without any influence on the run.

    After a validation means of diagnostics and predictions of the full set; after the test also the
    other subsets, rasters, labels and maps of diagnostics. `keys.py` lists the names.
    """

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log predictions of the full set and means of diagnostics."""
        self._log(trainer, pl_module, last=False)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log every subset, rasters, labels and maps of diagnostics."""
        self._log(trainer, pl_module, last=True)

    def _log(self, trainer: L.Trainer, model: L.LightningModule, last: bool) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        assert isinstance(model, AnyModalitySegmenter)
        data, device = datamodule_of(trainer), trainer.strategy.root_device
        with (
            # the run's own draws go on as if nothing had been drawn here
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            torch.inference_mode(),
        ):
            # what a method draws for its diagnostics is the same after every validation
            torch.manual_seed(0)
            with trainer.precision_plugin.val_step_context():
                content = example_images(model, data, last)
                content |= diagnostic_values(model, data, last)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_metrics(content, trainer.global_step)


def example_images(
    model: AnyModalitySegmenter, data: SceneDataModule, everything: bool
) -> dict[str, Any]:
    """Draw one W&B image per example scene and key; with `everything` not the full set's alone."""
    from wandb import Image

    classes = data.store.classes
    black = ignore_colour(classes)
    found: dict[str, list[Image]] = {}
    for scene in example_scenes(data):
        present = present_modalities(data, scene)
        subsets = modality_subsets(present) if everything else [tuple(present)]
        predicted, truth = inference.predict_all_subsets(model, data, scene, subsets)
        # pixels without label, and of classes without output, cannot be right
        valid = np.isin(truth, data.outputs)
        pictures: dict[str, tuple[Array, str]] = {}
        if everything:
            for name in present:
                picture = inference.modality_picture(data, scene, name, *truth.shape)
                pictures[name] = picture_bytes(picture), ""
            pictures["label"] = render_label(truth, classes, black), ""
        for name, ids in predicted.items():
            right = f", {100 * (ids == truth)[valid].mean():.0f} % right" if valid.any() else ""
            pictures[f"prediction/{name}"] = render_label(ids, classes, black), right
        for name, (picture, note) in pictures.items():
            image = Image(picture, caption=f"{scene.id}{note}")
            found.setdefault(f"examples/{name}", []).append(image)
    return found


def diagnostic_values(
    model: AnyModalitySegmenter, data: SceneDataModule, maps: bool
) -> dict[str, Any]:
    """Compute means of the method's `diagnostics` over a few windows; with `maps` draw them."""
    from wandb import Image

    batch, captions = diagnostic_batch(model, data)
    found: dict[str, Any] = {}
    for name, values in model.diagnostics(batch).items() if captions else ():
        if values.ndim > 3:
            continue  # features: nothing that one picture or number could show
        values = values.float().cpu()
        found[f"diagnostics/{name}"] = float(values.mean())
        if maps and values.ndim == 3:
            side = batch["mask"].shape[-1]
            images = found[f"maps/{name}"] = []
            for window, caption in zip(values, captions, strict=True):
                # every value is repeated until there are about `side` columns
                factor = max(1, side // window.shape[-1])
                picture = window.numpy().repeat(factor, axis=0).repeat(factor, axis=1)
                images.append(Image(picture_bytes(picture), caption=caption))
    return found


def diagnostic_batch(
    model: AnyModalitySegmenter, data: SceneDataModule
) -> tuple[dict[str, Any], list[str]]:
    """Read a few windows of the example scenes as a training batch, with a caption for each."""
    scenes = example_scenes(data)
    names = list(data.rasters)
    for scene in scenes:
        present = present_modalities(data, scene)
        # one batch has one set of modalities: those that all of the scenes have
        names = [name for name in names if name in present]
    if not names:
        return {}, []
    windows = []
    for scene in scenes:
        windows += [(scene.id, window) for window, _ in inference.iter_windows(data, scene)]
    windows = evenly_spaced(windows, EXAMPLES)
    like = next(model.parameters())
    images = {}
    for name in names:
        images[name] = torch.cat([window["image"][name] for _, window in windows]).to(like)
    # labels of the store become the network's outputs, as in training
    label_map = torch.from_numpy(data.label_map).long()
    labels = torch.cat([window["mask"] for _, window in windows])
    captions = []
    for scene_id, window in windows:
        row, column = window["window"][0, :2].tolist()
        captions.append(f"{scene_id}, row {row}, column {column}")
    return {"image": images, "mask": label_map[labels].to(like.device)}, captions


def picture_bytes(picture: Array) -> Array:
    """Convert values in [0, 1] to bytes; what is not a number becomes black."""
    return (255 * np.nan_to_num(picture, nan=0.0).clip(0, 1)).round().astype(np.uint8)
