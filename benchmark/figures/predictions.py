"""`imss picture`: one scene, its modalities, its label, and what a run predicts from every subset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.evaluation.inference import (
    Array,
    crop_top_left,
    modality_picture,
    predict_all_subsets,
    present_modalities,
)

if TYPE_CHECKING:
    from datamodules.base import SceneDataModule
    from datamodules.store.scene_store import Scene
    from methods.base import AnyModalitySegmenter


def draw_predictions(
    model: AnyModalitySegmenter, data: SceneDataModule, scene: Scene, title: str, out: Path
) -> None:
    """Write the PNG: modalities and label in the first row, the subsets below, pixels without label black."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    scene = crop_top_left(scene)
    predicted, truth = predict_all_subsets(model, data, scene)
    colours = np.zeros((256, 3), np.uint8)
    for entry in data.store.classes:
        colours[entry.id] = entry.color
    panels: list[tuple[str, Array]] = [
        (f"{modality.letter}  {name}", modality_picture(data, scene, name, *truth.shape))
        for name, modality in (
            (name, data.modalities[name]) for name in present_modalities(data, scene)
        )
    ]
    panels.append(("label", colours[truth]))
    valid = np.isin(truth, data.outputs)
    for name, ids in predicted.items():
        right = (ids == truth)[valid].mean() if valid.any() else float("nan")
        panels.append((f"{name}: {100 * right:.0f} % right", colours[ids]))
    columns = len(data.modalities) + 1
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.4 * columns, 2.65 * rows + 0.35), squeeze=False
    )
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
    figure.legend(
        handles=handles, ncol=min(6, len(handles)), loc="lower center", fontsize=8, frameon=False
    )
    figure.suptitle(f"{title}, scene {scene.id}", fontsize=10)
    figure.tight_layout(rect=(0, 0.35 / figure.get_figheight(), 1, 1))
    figure.savefig(out, dpi=110)
    plt.close(figure)
