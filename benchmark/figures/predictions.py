"""`imss picture`: one scene, its modalities, its label, and what a run predicts from every subset."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmark.commands.evaluate import model_words, trained_request
from benchmark.experiment.train import checked_request, load_weights, select
from benchmark.metrics.subsets import modality_subsets, subset_name
from usererror import UserError

if TYPE_CHECKING:
    import torch

    from benchmark.experiment.lightning_cli import BenchCLI
    from datamodules.store.scene_store import Scene

LARGEST = 1024  # pixels a side that are drawn; larger scenes show their upper left corner
Array = npt.NDArray[Any]


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Load the run's selected checkpoint and draw."""
    run_dir = Path(arguments.run).expanduser()
    cli = load_run(run_dir)
    scene = test_scenes(cli, [arguments.scene] if arguments.scene else [])[0]
    out = Path(arguments.out).expanduser() if arguments.out else run_dir / "prediction.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    draw(cli, scene, out)
    print(f"Picture: {out}")


def load_run(run_dir: Path) -> BenchCLI:
    """The cell of a run directory with the weights of its selected checkpoint, in eval mode.

    Raises:
        UserError: no such run, or its data or checkpoint is not there.
    """
    trained = trained_request(run_dir / "checkpoints" / "last.ckpt")
    trained["runs"] = str(run_dir)
    request = checked_request(argparse.Namespace(**trained), [*trained["overrides"], *model_words(trained)])
    from benchmark.experiment.lightning_cli import build

    cli = build(request, run_dir=run_dir)
    load_weights(cli, select(cli)[0])
    cli.model.eval()
    return cli


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
    windows = EvaluationWindows([scene], data.layers, data.train_label, None, data.window, stride or data.stride)
    for index in range(len(windows)):
        batch = collate([windows[0, index]], present_modalities(cli, scene))
        row, col, rows, cols = batch["window"][0].tolist()
        yield batch, (slice(row, row + rows), slice(col, col + cols))


def predictions(cli: BenchCLI, scene: Scene, subsets: Sequence[tuple[str, ...]] = ()) -> tuple[dict[str, Array], Array]:
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
            encoded = cli.model.encode({name: image.to(like) for name, image in batch["image"].items()})
            for number, subset in enumerate(subsets):
                logits = cli.model.decode({name: encoded[name] for name in subset}, batch["mask"].shape[-2:])
                sums[(number, slice(None), *here)] += logits[0, :, :rows, :cols].cpu()
    ids = np.asarray(data.outputs, np.uint8)[_argmax(sums)]
    return {subset_name(subset, data.letters): ids[number] for number, subset in enumerate(subsets)}, truth


def _argmax(sums: torch.Tensor) -> Array:
    return sums.argmax(1).numpy()


def modality_picture(cli: BenchCLI, scene: Scene, name: str, height: int, width: int) -> Array:
    """H x W (x 3) values in [0, 1], see `rendering.picture`."""
    from datamodules.loading.windows import Window
    from datamodules.store.reader import RasterReader
    from datamodules.store.rendering import picture

    modality = cli.datamodule.modalities[name]
    path = scene.paths[cli.datamodule.rasters[name]]
    return picture(RasterReader().read(path, Window(0, 0, height, width), modality.channels), modality).image


def draw(cli: BenchCLI, scene: Scene, out: Path) -> None:
    """Write the PNG: modalities and label in the first row, the subsets below, pixels without label black."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    scene = corner(scene)
    predicted, truth = predictions(cli, scene)
    data = cli.datamodule
    colours = np.zeros((256, 3), np.uint8)
    for entry in data.store.classes:
        colours[entry.id] = entry.color
    panels: list[tuple[str, Array]] = [
        (f"{modality.letter}  {name}", modality_picture(cli, scene, name, *truth.shape))
        for name, modality in ((name, data.modalities[name]) for name in present_modalities(cli, scene))
    ]
    panels.append(("label", colours[truth]))
    valid = np.isin(truth, data.outputs)
    for name, ids in predicted.items():
        right = (ids == truth)[valid].mean() if valid.any() else float("nan")
        panels.append((f"{name}: {100 * right:.0f} % right", colours[ids]))
    columns = len(data.modalities) + 1
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.4 * columns, 2.65 * rows + 0.35), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, picture) in zip(axes.flat, panels, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(title, fontsize=9)
    handles = [
        Patch(
            facecolor=(entry.color[0] / 255, entry.color[1] / 255, entry.color[2] / 255),
            edgecolor="grey",
            label=entry.name,
        )
        for entry in data.store.classes
    ]
    figure.legend(handles=handles, ncol=min(6, len(handles)), loc="lower center", fontsize=8, frameon=False)
    figure.suptitle(f"{cli.cell.variant}, {cli.request.data}, scene {scene.id}", fontsize=10)
    figure.tight_layout(rect=(0, 0.35 / figure.get_figheight(), 1, 1))
    figure.savefig(out, dpi=110)
    plt.close(figure)
