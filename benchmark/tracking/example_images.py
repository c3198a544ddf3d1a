"""`imss examples`: small pictures of a few test scenes, left beside a run for pages that import no network.

`<run>/examples/index.json` names them; each scene has a folder with a picture per modality (JPEG), `label.png` and one
`<subset>.png` per subset. Labels and predictions are palette images: the value of a pixel is its label id.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmark.evaluation.inference import (
    crop_top_left,
    modality_picture,
    predict_all_subsets,
    present_modalities,
)
from benchmark.records.record import write_json

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI
    from datamodules.store.scene_store import Scene, SceneClass

FOLDER, INDEX = "examples", "index.json"
READ = 512  # pixels a side of a scene that are predicted, or one window where that is larger
DRAWN = 256  # pixels a side of a picture at most; larger ones are thinned evenly
Array = npt.NDArray[Any]


def store_examples(cli: BenchCLI, run_dir: Path, scenes: Sequence[Scene]) -> None:
    """Write the pictures of the scenes, then the index; what was there before goes first."""
    data = cli.datamodule
    folder = run_dir / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    cli.model.eval()
    entries = [
        _store_scene(cli, scene, folder / str(number)) for number, scene in enumerate(scenes)
    ]
    colours = palette(data.store.classes)
    classes = [
        {"id": entry.id, "name": entry.name, "color": colours[entry.id].tolist()}
        for entry in data.store.classes
    ]
    index = {
        "fingerprint": data.store.fingerprint,
        "letters": data.letters,
        "classes": classes,
        "outputs": list(data.outputs),
        "unlabelled": colours[255].tolist(),
        "scenes": [{**entry, "folder": str(number)} for number, entry in enumerate(entries)],
    }
    write_json(folder / INDEX, index)


def _store_scene(cli: BenchCLI, scene: Scene, folder: Path) -> dict[str, Any]:
    from PIL import Image

    part = crop_top_left(scene, max(READ, cli.datamodule.window))
    predicted, truth = predict_all_subsets(cli.model, cli.datamodule, part)
    step = max(1, -(-max(truth.shape) // DRAWN))
    colours = palette(cli.datamodule.store.classes)
    folder.mkdir(parents=True)
    for name, ids in {"label": truth, **predicted}.items():
        image = Image.fromarray(np.ascontiguousarray(ids[::step, ::step]))
        image.putpalette(colours.tobytes())
        image.save(folder / f"{name}.png", optimize=True)
    names = present_modalities(cli.datamodule, scene)
    for name in names:
        values = np.nan_to_num(
            modality_picture(cli.datamodule, part, name, *truth.shape)[::step, ::step]
        )
        Image.fromarray((255 * values).round().astype(np.uint8)).save(
            folder / f"{name}.jpg", quality=85
        )
    size = [part.width, part.height]
    return {
        "id": scene.id,
        "pixels": size,
        "step": step,
        "modalities": names,
        "subsets": list(predicted),
    }


def palette(classes: Sequence[SceneClass]) -> Array:
    """256 x 3 uint8: the classes' colours, told apart where two are the same; black or another one without label."""
    from datamodules.store.rendering import ignore_colour

    colours = np.zeros((256, 3), np.uint8)
    taken: set[tuple[int, ...]] = set()
    for entry in classes:
        colour = tuple(entry.color)
        while colour in taken:  # the page tells right from wrong by colour
            colour = (*colour[:2], (colour[2] + 1) % 256)
        taken.add(colour)
        colours[entry.id] = colour
    colours[255] = ignore_colour(classes)
    return colours
