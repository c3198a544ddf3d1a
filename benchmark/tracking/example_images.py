"""Small pictures of a few test scenes, left beside a run for pages that import no network.

`<run>/examples/index.json` names them; each scene has a folder with a picture per modality (JPEG),
`label.png` and one `<subset>.png` per subset. Labels and predictions are palette images: the value
of a pixel is its label id.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmark.evaluation import inference
from benchmark.records.record import write_json

if TYPE_CHECKING:
    from datamodules.base import SceneDataModule
    from datamodules.store.scene_store import Scene, SceneClass
    from methods.base import AnyModalitySegmenter

FOLDER, INDEX = "examples", "index.json"
READ = 512  # pixels a side of a scene that are predicted, or one window where that is larger
DRAWN = 256  # pixels a side of a picture at most; larger ones are thinned evenly
Array = npt.NDArray[Any]


def store_examples(
    model: AnyModalitySegmenter, data: SceneDataModule, run_dir: Path, scenes: Sequence[Scene]
) -> None:
    """Write the pictures of the scenes, then the index; what was there before goes first."""
    folder = run_dir / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    model.eval()
    colours = class_palette(data.store.classes)
    entries = []
    for number, scene in enumerate(scenes):
        entries.append(_store_scene(model, data, scene, colours, folder / str(number)))
    write_index(folder, data, entries)


def write_index(folder: Path, data: SceneDataModule, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write what the pictures of a folder are of; last, since an index says that all are there."""
    colours = class_palette(data.store.classes)
    classes = []
    for label in data.store.classes:
        colour = colours[label.id].tolist()
        classes.append({"id": label.id, "name": label.name, "color": colour})
    index = {
        "fingerprint": data.store.fingerprint,
        "licence": data.store.info.get("licence", ""),
        "letters": data.letters,
        "classes": classes,
        "outputs": list(data.outputs),
        "unlabelled": colours[255].tolist(),
        "scenes": list(entries),
    }
    write_json(folder / INDEX, index)


def save_labels(path: Path, ids: Array, colours: Array) -> None:
    """Write label ids as a palette image."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(ids))
    image.putpalette(colours.tobytes())
    image.save(path, optimize=True)


def save_picture(path: Path, values: Array) -> None:
    """Write values in [0, 1] as a JPEG."""
    from PIL import Image

    picture = (255 * np.nan_to_num(values)).round().astype(np.uint8)
    Image.fromarray(picture).save(path, quality=85)


def _store_scene(
    model: AnyModalitySegmenter, data: SceneDataModule, scene: Scene, colours: Array, folder: Path
) -> dict[str, Any]:
    part = inference.crop_top_left(scene, max(READ, data.window))
    predicted, truth = inference.predict_all_subsets(model, data, part)
    # thinned, not interpolated: pixels of a palette image are ids
    step = max(1, -(-max(truth.shape) // DRAWN))
    folder.mkdir(parents=True)
    for name, ids in {"label": truth, **predicted}.items():
        save_labels(folder / f"{name}.png", ids[::step, ::step], colours)
    names = inference.present_modalities(data, scene)
    for name in names:
        values = inference.modality_picture(data, part, name, *truth.shape)[::step, ::step]
        save_picture(folder / f"{name}.jpg", values)
    return {
        "id": scene.id,
        "pixels": [part.width, part.height],
        "step": step,
        "modalities": names,
        "subsets": list(predicted),
        "folder": folder.name,
    }


def class_palette(classes: Sequence[SceneClass]) -> Array:
    """Build a palette of 256 x 3 bytes: each class's colour at its id, that of no label at 255.

    Example:
        >>> from datamodules.store.scene_store import SceneClass
        >>> red = (255, 0, 0)
        >>> class_palette([SceneClass(0, "roof", red), SceneClass(1, "tile", red)])[:2].tolist()
        [[255, 0, 0], [255, 0, 1]]
    """
    from datamodules.store.rendering import ignore_colour

    colours = np.zeros((256, 3), np.uint8)
    taken: set[tuple[int, ...]] = set()
    for entry in classes:
        colour = tuple(entry.color)
        # the report tells right from wrong by colour, so two classes must not share one
        while colour in taken:
            colour = (*colour[:2], (colour[2] + 1) % 256)
        taken.add(colour)
        colours[entry.id] = colour
    colours[255] = ignore_colour(classes)
    return colours
