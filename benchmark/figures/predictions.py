"""One scene: its modalities, its label, and what a run predicts from subsets of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmark.evaluation.inference import (
    Array,
    crop_top_left,
    modality_picture,
    predict_all_subsets,
    present_modalities,
    require_seen,
)
from benchmark.figures.picture_grid import AS_IT_IS, picture_grid, save_figure, write_figure
from datamodules.store.rendering import render_label
from usererror import UserError

if TYPE_CHECKING:
    from datamodules.base import SceneDataModule
    from datamodules.store.scene_store import Scene, SceneClass
    from methods.base import AnyModalitySegmenter

BLACK = (0, 0, 0)
STRIP_INCHES, STRIP_DPI = 8.8, 200  # 1760 px, sharp where it is shown 880 px wide


def draw_predictions(
    model: AnyModalitySegmenter, data: SceneDataModule, scene: Scene, title: str, out: Path
) -> None:
    """Write a PNG: modalities and label in the first row, the predictions of all subsets below."""
    scene = crop_top_left(scene)
    predicted, truth = predict_all_subsets(model, data, scene)
    panels = []
    for name in present_modalities(data, scene):
        picture = modality_picture(data, scene, name, *truth.shape)
        panels.append((f"{data.letters[name]}  {name}", picture))
    panels.append(("label", render_label(truth, data.store.classes, BLACK)))
    for name, ids in predicted.items():
        right = share_right(ids, truth, data.outputs)
        panels.append((f"{name}: {right} right", render_label(ids, data.store.classes, BLACK)))
    columns = len(data.modalities) + 1
    rows = -(-len(panels) // columns)
    figure, axes = picture_grid(rows, columns, (2.4 * columns, 2.65 * rows + 0.35))
    for axis in axes.flat:
        axis.axis("off")
    for axis, (text, picture) in zip(axes.flat, panels, strict=False):
        axis.imshow(picture, **AS_IT_IS)
        axis.set_title(text, fontsize=9)
    _class_legend(figure, data.store.classes, columns=6)
    save_figure(figure, f"{title}, scene {scene.id}", out)


def draw_strip(
    model: AnyModalitySegmenter,
    data: SceneDataModule,
    scene: Scene,
    subsets: Sequence[tuple[str, ...]],
    out: Path,
) -> None:
    """Write a PNG of one row, to be shown 880 px wide: modalities, label, predictions of subsets.

    Every prediction is titled with its modalities and the share of labelled pixels it gets right.
    """
    for subset in subsets:
        require_seen(model, subset)
    scene = crop_top_left(scene)
    present = present_modalities(data, scene)
    predicted, truth = predict_all_subsets(model, data, scene, subsets)
    words: dict[str, str] = {}
    panels: list[tuple[str, Array] | None] = []
    for name in present:
        height = data.modalities[name].kind.startswith("height")
        words[name] = "height" if height else name.upper()
        panels.append((words[name], modality_picture(data, scene, name, *truth.shape)))
    panels += [("label", render_label(truth, data.store.classes, BLACK)), None]
    for subset, ids in zip(subsets, predicted.values(), strict=True):
        name = " + ".join(words[m] for m in subset)
        name += " only" if len(subset) == 1 else ""
        name = "all sensors" if len(subset) == len(present) else name
        right = share_right(ids, truth, data.outputs)
        panels.append((f"{name}\n{right} right", render_label(ids, data.store.classes, BLACK)))
    # a narrow empty column parts what is given from what is predicted
    widths = [0.12 if panel is None else 1 for panel in panels]
    side = (STRIP_INCHES - 0.1) / sum(widths)
    figure = Figure(figsize=(STRIP_INCHES, side * scene.height / scene.width + 0.72))
    # every pixel of width is worth more to the pictures than to the space between them
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    axes = figure.subplots(1, len(panels), width_ratios=widths)
    for axis, panel in zip(axes, panels, strict=True):
        axis.axis("off")
        if panel is not None:
            axis.imshow(panel[1], **AS_IT_IS)
            axis.set_title(panel[0], fontsize=9, pad=3, va="bottom")
            axis.set_anchor("S")  # titles of one and of two lines stand on the pictures
    _class_legend(figure, data.store.classes, columns=8)
    write_figure(figure, out, dpi=STRIP_DPI, bbox_inches="tight", pad_inches=0.02)


def subsets_from_letters(data: SceneDataModule, scene: Scene, names: Sequence[str]) -> list[Any]:
    """Read subsets such as `R+D`, letters in any order, as tuples of a scene's modalities."""
    letters = {data.letters[name]: name for name in present_modalities(data, scene)}
    subsets = []
    for name in names:
        chosen = name.split("+")
        for letter in chosen:
            if letter not in letters:
                have = f"is no letter of this scene ({'+'.join(letters)})"
                raise UserError(f"subset {name!r}: {letter!r} {have}.")
        subsets.append(tuple(m for letter, m in letters.items() if letter in chosen))
    return subsets


def share_right(ids: Array, truth: Array, outputs: Sequence[int]) -> str:
    """Give the share of labelled pixels that are predicted right, in per cent.

    Example:
        >>> share_right(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 255]), outputs=[0, 1])
        '67 %'
    """
    # clutter that a network has no output for is neither right nor wrong
    valid = np.isin(truth, outputs)
    return f"{100 * (ids == truth)[valid].mean():.0f} %" if valid.any() else "nothing"


def _class_legend(figure: Figure, classes: Sequence[SceneClass], columns: int) -> None:
    handles = []
    for entry in classes:
        colour = tuple(np.array(entry.color) / 255)
        name = entry.name.replace("_", " ")
        handles.append(Patch(facecolor=colour, edgecolor="grey", label=name))
    style: dict[str, Any] = {"borderaxespad": 0.1, "fontsize": 8, "frameon": False}
    style |= {"handlelength": 1, "columnspacing": 1.2, "ncols": min(columns, len(handles))}
    figure.legend(handles=handles, loc="outside lower center", **style)
