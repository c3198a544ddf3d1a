"""One scene: its modalities, its label, and what a run predicts from subsets of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.evaluation.inference import (
    Array,
    crop_top_left,
    modality_picture,
    predict_all_subsets,
    present_modalities,
)
from datamodules.store.rendering import render_label
from usererror import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from datamodules.base import SceneDataModule
    from datamodules.store.scene_store import Modality, Scene, SceneClass
    from methods.base import AnyModalitySegmenter

BLACK = (0, 0, 0)
STRIP_INCHES, STRIP_DPI = 8.8, 200  # 1760 px, sharp where it is shown 880 px wide


def draw_predictions(
    model: AnyModalitySegmenter, data: SceneDataModule, scene: Scene, title: str, out: Path
) -> None:
    """Write a PNG: modalities and label in the first row, the predictions of all subsets below."""
    plt = _pyplot()
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
    size = 2.4 * columns, 2.65 * rows + 0.35
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, (text, picture) in zip(axes.flat, panels, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(text, fontsize=9)
    _class_legend(figure, data.store.classes, columns=6, fontsize=8)
    figure.suptitle(f"{title}, scene {scene.id}", fontsize=10)
    figure.savefig(out, dpi=110)
    plt.close(figure)


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
    plt = _pyplot()
    scene = crop_top_left(scene)
    present = present_modalities(data, scene)
    predicted, truth = predict_all_subsets(model, data, scene, subsets)
    words = {name: modality_word(name, data.modalities[name]) for name in present}
    panels: list[tuple[str, Array] | None] = []
    for name, word in words.items():
        panels.append((word, modality_picture(data, scene, name, *truth.shape)))
    panels.append(("label", render_label(truth, data.store.classes, BLACK)))
    panels.append(None)
    for subset, ids in zip(subsets, predicted.values(), strict=True):
        name = " + ".join(words[m] for m in subset)
        name += " only" if len(subset) == 1 else ""
        name = "all sensors" if len(subset) == len(present) else name
        right = share_right(ids, truth, data.outputs)
        panels.append((f"{name}\n{right} right", render_label(ids, data.store.classes, BLACK)))
    # a narrow empty column parts what is given from what is predicted
    widths = [0.12 if panel is None else 1 for panel in panels]
    side = (STRIP_INCHES - 0.1) / sum(widths)
    height = side * scene.height / scene.width + 0.72
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(STRIP_INCHES, height),
        width_ratios=widths,
        layout="constrained",
    )
    # every pixel of width is worth more to the pictures than to the space between them
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for axis, panel in zip(axes, panels, strict=True):
        axis.axis("off")
        if panel is not None:
            axis.imshow(panel[1], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_title(panel[0], fontsize=9, pad=3, va="bottom")
            axis.set_anchor("S")  # titles of one and of two lines stand on the pictures
    _class_legend(figure, data.store.classes, columns=8, fontsize=8)
    figure.savefig(out, dpi=STRIP_DPI, bbox_inches="tight", pad_inches=0.02)
    plt.close(figure)


def subsets_from_letters(data: SceneDataModule, scene: Scene, names: Sequence[str]) -> list[Any]:
    """Read subsets such as `R+D`, letters in any order, as tuples of a scene's modalities.

    Raises:
        UserError: a letter is none of the scene's.
    """
    letters = {data.letters[name]: name for name in present_modalities(data, scene)}
    subsets = []
    for name in names:
        chosen = name.split("+")
        if unknown := [letter for letter in chosen if letter not in letters]:
            have = "+".join(letters)
            raise UserError(f"subset {name!r}: {unknown[0]!r} is no letter of this scene ({have}).")
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


def modality_word(name: str, modality: Modality) -> str:
    """Call a modality as a reader does: RGB, height, NIR."""
    return "height" if modality.kind.startswith("height") else name.upper()


def _class_legend(
    figure: Figure, classes: Sequence[SceneClass], columns: int, fontsize: float
) -> None:
    from matplotlib.patches import Patch

    handles = []
    for entry in classes:
        red, green, blue = (part / 255 for part in entry.color)
        name = entry.name.replace("_", " ")
        handles.append(Patch(facecolor=(red, green, blue), edgecolor="grey", label=name))
    figure.legend(
        handles=handles,
        ncols=min(columns, len(handles)),
        loc="outside lower center",
        borderaxespad=0.1,
        fontsize=fontsize,
        frameon=False,
        handlelength=1,
        columnspacing=1.2,
    )


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
