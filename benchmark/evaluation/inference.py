"""Predictions and pictures of single scenes, every subset at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI
    from datamodules.store.scene_store import Scene

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.metrics.subsets import modality_subsets, subset_name
from usererror import UserError

if TYPE_CHECKING:
    import torch

    from benchmark.experiment.lightning_cli import BenchCLI
    from datamodules.store.scene_store import Scene

Array = npt.NDArray[Any]

LARGEST = 1024  # pixels a side that are drawn; larger scenes show their upper left corner


def test_scenes(cli: BenchCLI, ids: Sequence[str]) -> list[Scene]:
    """The named test scenes, or all of them; UserError for a name that is none."""
    scenes = {scene.id: scene for scene in cli.datamodule.splits["test"]}
    if unknown := [name for name in ids if name not in scenes]:
        raise UserError(f"{unknown[0]!r} is no test scene; there are: {', '.join(scenes)}.")
    return [scenes[name] for name in ids] if ids else list(scenes.values())


def file_stem(scene_id: str) -> str:
    """A scene's id as the name of one file; DELIVER's ids are paths."""
    return scene_id.replace("/", "_")


def corner(scene: Scene, side: int = LARGEST) -> Scene:
    """The upper left part of a scene, at most `side` px a side."""
    return replace(scene, height=min(scene.height, side), width=min(scene.width, side))


def present_modalities(cli: BenchCLI, scene: Scene) -> list[str]:
    """Modalities that the scene has, in the dataset's order."""
    return [name for name, raster in cli.datamodule.rasters.items() if raster in scene.paths]


def windows_of(
    cli: BenchCLI, scene: Scene, stride: int | None = None
) -> Iterator[tuple[dict[str, Any], tuple[slice, slice]]]:
    """(batch of one window, the rows and columns of the scene that it covers); pixels beyond them are padding.

    `stride` of the windows in pixels; None takes that of the evaluation.
    """
    from datamodules.loading.datasets import EvaluationWindows, collate

    data = cli.datamodule
    windows = EvaluationWindows(
        [scene], data.layers, data.train_label, None, data.window, stride or data.stride
    )
    for index in range(len(windows)):
        batch = collate([windows[0, index]], present_modalities(cli, scene))
        row, col, rows, cols = batch["window"][0].tolist()
        yield batch, (slice(row, row + rows), slice(col, col + cols))


def predictions(
    cli: BenchCLI, scene: Scene, subsets: Sequence[tuple[str, ...]] = ()
) -> tuple[dict[str, Array], Array]:
    """({subset: predicted label ids H x W}, true label ids H x W) of a scene; by default for all of its subsets."""
    import torch

    data, like = cli.datamodule, next(cli.model.parameters())
    subsets = subsets or modality_subsets(present_modalities(cli, scene))
    sums = torch.zeros(len(subsets), data.num_classes, scene.height, scene.width)
    truth = np.full((scene.height, scene.width), 255, np.uint8)
    with torch.inference_mode():
        for batch, here in windows_of(cli, scene):
            rows, cols = (part.stop - part.start for part in here)
            truth[here] = batch["mask"][0, :rows, :cols].numpy()
            encoded = cli.model.encode(
                {name: image.to(like) for name, image in batch["image"].items()}
            )
            for number, subset in enumerate(subsets):
                logits = cli.model.decode(
                    {name: encoded[name] for name in subset}, batch["mask"].shape[-2:]
                )
                sums[(number, slice(None), *here)] += logits[0, :, :rows, :cols].cpu()
    ids = np.asarray(data.outputs, np.uint8)[_argmax(sums)]
    return {
        subset_name(subset, data.letters): ids[number] for number, subset in enumerate(subsets)
    }, truth


def _argmax(sums: torch.Tensor) -> Array:
    return sums.argmax(1).numpy()


def modality_picture(cli: BenchCLI, scene: Scene, name: str, height: int, width: int) -> Array:
    """H x W (x 3) values in [0, 1], see `rendering.picture`."""
    from datamodules.store.reader import RasterReader, Window
    from datamodules.store.rendering import picture

    modality = cli.datamodule.modalities[name]
    path = scene.paths[cli.datamodule.rasters[name]]
    return picture(
        RasterReader().read(path, Window(0, 0, height, width), modality.channels), modality
    ).image


FEW = 3  # scenes, evenly spread over the test scenes in their order: the same for every method


T = TypeVar("T")


def few(items: Sequence[T], number: int = FEW) -> list[T]:
    """At most `number` items (scenes, for instance), evenly spread, the first and the last among them."""
    places = np.linspace(0, len(items) - 1, min(number, len(items))).round().astype(int)
    return [items[place] for place in places]
