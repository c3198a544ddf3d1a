"""Windows, predictions and pictures of single scenes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from benchmark.metrics.subsets import modality_subsets, subset_name
from datamodules.store.scene_store import IGNORE
from usererror import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.evaluation.row_buffer import Place
    from datamodules.base import SceneDataModule
    from datamodules.store.scene_store import Scene
    from methods.base import AnyModalitySegmenter

Array = npt.NDArray[Any]
T = TypeVar("T")

LARGEST_SIDE = 1024  # pixels that are drawn; of larger scenes the upper left corner
FEW_SCENES = 3


def select_test_scenes(data: SceneDataModule, ids: Sequence[str] = ()) -> list[Scene]:
    """Return the named test scenes, or all of them."""
    scenes = {scene.id: scene for scene in data.splits["test"]}
    for name in ids:
        if name not in scenes:
            raise UserError(f"{name!r} is no test scene; there are: {', '.join(scenes)}.")
    return [scenes[name] for name in ids or scenes]


def evenly_spaced(items: Sequence[T], number: int = FEW_SCENES) -> list[T]:
    """Pick at most `number` items, evenly spread, the first and the last among them.

    Example:
        >>> evenly_spaced("abcdefg")
        ['a', 'd', 'g']
    """
    places = np.linspace(0, len(items) - 1, min(number, len(items))).round().astype(int)
    return [items[place] for place in places]


def scene_file_stem(scene_id: str) -> str:
    """Turn a scene's id into a file name; DELIVER's ids are paths."""
    return scene_id.replace("/", "_")


def crop_top_left(scene: Scene, side: int = LARGEST_SIDE) -> Scene:
    """Cut a scene to its upper left part of at most `side` pixels a side."""
    return replace(scene, height=min(scene.height, side), width=min(scene.width, side))


def present_modalities(data: SceneDataModule, scene: Scene) -> list[str]:
    """List the modalities that a scene has, in the dataset's order."""
    return [name for name, raster in data.rasters.items() if raster in scene.paths]


def iter_windows(
    data: SceneDataModule, scene: Scene, stride: int | None = None
) -> Iterator[tuple[dict[str, Any], Place]]:
    """Read the covering windows of a scene, which may be cropped, one at a time.

    Yields:
        A batch of one window, and the part of the scene that it covers; the rest of it is padding.
    """
    from datamodules.loading.datasets import EvaluationWindows, collate_windows

    # a label that is stored, not eroded: pictures show every labelled pixel
    windows = EvaluationWindows(
        [scene], data.layers, data.train_label, None, data.window, stride or data.stride
    )
    names = present_modalities(data, scene)
    for index in range(len(windows)):
        batch = collate_windows([windows[0, index]], names)
        yield batch, tuple(batch["window"][0].tolist())


def images_for(model: AnyModalitySegmenter, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Move a batch's images to the device and type of a model's weights."""
    like = next(model.parameters(), None)
    images = batch["image"]
    return images if like is None else {name: image.to(like) for name, image in images.items()}


def decode_subset(
    model: AnyModalitySegmenter, encoded: Mapping[str, Any], subset: Sequence[str], size: Any
) -> Tensor:
    """Decode a subset of what is encoded, logits `(B, K, *size)`."""
    return model.decode(select_entries(encoded, subset), size)


def select_entries(encoded: Mapping[str, Any], subset: Sequence[str]) -> dict[str, Any]:
    """Leave out what is missing: an absent key, as it would be on a user's machine."""
    return {name: encoded[name] for name in subset}


def require_seen(model: AnyModalitySegmenter, modalities: Collection[str]) -> None:
    """Raise a UserError if a network sees none of these modalities."""
    if not model.sees(modalities):
        seen = " or ".join(name for name in model.modalities if model.sees([name]))
        said = f"This network sees nothing of {', '.join(modalities)}"
        raise UserError(f"{said}, only {seen}: give it that, or use another method.")


def predict_all_subsets(
    model: AnyModalitySegmenter,
    data: SceneDataModule,
    scene: Scene,
    subsets: Sequence[tuple[str, ...]] = (),
) -> tuple[dict[str, Array], Array]:
    """Predict a scene from subsets of its modalities, by default from all of them.

    Those of which the network sees nothing are left out.

    Returns ({subset: predicted label ids}, true label ids), each `(H, W)`.
    """
    import torch

    from benchmark.evaluation.divergence import check_logits
    from benchmark.evaluation.row_buffer import WindowStitcher

    subsets = subsets or modality_subsets(present_modalities(data, scene))
    subsets = list(filter(model.sees, subsets))
    stitcher = WindowStitcher((len(subsets), data.num_classes), scene.width)
    truth = np.full((scene.height, scene.width), IGNORE, np.uint8)
    with torch.inference_mode():
        for batch, place in iter_windows(data, scene):
            row, col, rows, cols = place
            truth[row : row + rows, col : col + cols] = batch["mask"][0, :rows, :cols].numpy()
            encoded = model.encode(images_for(model, batch))
            for number, subset in enumerate(subsets):
                logits = decode_subset(model, encoded, subset, batch["mask"].shape[-2:])
                check_logits(logits)
                stitcher.add(place, logits[0].cpu(), number)
        channels = stitcher.pop_rows(scene.height).argmax(1).numpy()
    ids = np.asarray(data.outputs, np.uint8)[channels]
    names = map(partial(subset_name, letters=data.letters), subsets)
    return dict(zip(names, ids, strict=True)), truth


def modality_picture(
    data: SceneDataModule, scene: Scene, name: str, height: int, width: int
) -> Array:
    """Render a modality of a scene, `(H, W)` or `(H, W, 3)` in [0, 1]."""
    from datamodules.store.reader import RasterReader, Window
    from datamodules.store.rendering import render_modality

    modality, path = data.modalities[name], scene.paths[data.rasters[name]]
    pixels = RasterReader().read(path, Window(0, 0, height, width), modality.channels)
    return render_modality(pixels, modality).image
