"""A sheet of scenarios: a row per scenario and sensor, clean and in every severity."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmark.figures.contact_sheet import GREY, colour_map
from datamodules.base import SceneDataModule
from datamodules.damage.scenario import Scenario
from datamodules.loading.damaged_windows import damaged_versions
from datamodules.loading.datasets import EvaluationWindows
from datamodules.loading.input_layer import InputLayer
from datamodules.store.reader import Window
from datamodules.store.rendering import render_range, stretched_range
from usererror import UserError

if TYPE_CHECKING:
    from datamodules.store.scene_store import Modality, Scene, SceneStore

CELL_INCHES, TITLE_INCHES, DPI = 2.2, 2.1, 110


def compose_damages(
    store: SceneStore, scenarios: Sequence[Scenario], scene_id: str, side: int
) -> Figure:
    """Draw the middle of a scene under scenarios, each with the first modality of every kind.

    All pictures of a row show the same range of values: 0 to 255 of bytes, of all else the 2nd to
    the 98th percentile of the clean image. They are values as a network is given them.

    Raises:
        UserError: there is no such scene, or none of its sensors suffers any of the scenarios.
    """
    scene = _find_scene(store, scene_id)
    firsts: dict[str, Modality] = {}
    for name, modality in store.modalities.items():
        if name in scene.paths:
            firsts.setdefault(modality.kind.removesuffix("_linear").partition("_")[0], modality)
    rows = [(s, m) for s in scenarios for m in firsts.values() if s.affects(m.kind)]
    if not rows:
        has = ", ".join(f"{one.name} ({one.kind})" for one in firsts.values())
        raise UserError(f"{scene.id} of {store.name} has no sensor for these, only {has}.")
    columns = 1 + max(len(scenario.severities) for scenario, _ in rows)
    size = (TITLE_INCHES + CELL_INCHES * columns, 0.6 + (CELL_INCHES + 0.1) * len(rows))
    figure = Figure(figsize=size, layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    figure.suptitle(f"{store.name}, scene {scene.id}", x=0.01, ha="left", fontsize=12)
    widths = [TITLE_INCHES, *[CELL_INCHES] * columns]
    axes = figure.subplots(len(rows), columns + 1, squeeze=False, width_ratios=widths)
    for line, (scenario, modality) in zip(axes, rows, strict=True):
        for axis in line:
            axis.set_axis_off()
        line[0].text(0, 1, scenario.name, va="top", fontsize=11, fontweight="bold")
        about = [f"{modality.name}, {scenario.group}", *textwrap.wrap(scenario.about, 32)]
        line[0].text(0, 0.86, "\n".join(about), va="top", fontsize=7.5, color=GREY)
        pictures = damage_pictures(store, scene, modality, scenario, side)
        for axis, (label, picture) in zip(line[1:], pictures.items(), strict=False):
            axis.set_label(f"{scenario.name} {modality.name} {label}")
            axis.imshow(picture, cmap=colour_map(modality), vmin=0, vmax=1, interpolation="nearest")
            axis.set_title(label, loc="left", fontsize=8, pad=2)
    return figure


def damage_pictures(
    store: SceneStore, scene: Scene, modality: Modality, scenario: Scenario, side: int
) -> dict[str, np.ndarray]:
    """Return {"clean" and labels of severities: picture `(H, W)` or `(H, W, 3)` in [0, 1]}."""
    windows, layer = _one_modality(store, modality)
    height, width = min(side, scene.height), min(side, scene.width)
    place = Window((scene.height - height) // 2, (scene.width - width) // 2, height, width)
    read = partial(windows.read_valid, layer, scene)
    clean = layer.normalizer.standardize(read(place), scene.id)
    if modality.dtype == "uint8":
        ends = np.zeros_like(clean[:, :1, :1]), np.full_like(clean[:, :1, :1], 255)
        low, high = (layer.normalizer.standardize(end, scene.id) for end in ends)
    else:
        low, high = stretched_range(clean)
    damaged = damaged_versions(read, layer, scene.id, place, scenario)
    shown = {}
    for label, values in zip(("clean", *scenario.severities), (clean, *damaged), strict=True):
        shown[label] = render_range(values, low, high)
    return shown


def _find_scene(store: SceneStore, scene_id: str) -> Scene:
    if not scene_id:
        return store.split(store.info["splits"][0])["test"][0]
    for scene in store.scenes:
        if scene.id == scene_id:
            return scene
    some = ", ".join(scene.id for scene in store.scenes[:5])
    raise UserError(f"{store.name} has no scene {scene_id!r}; it has {some}, ...")


def _one_modality(store: SceneStore, modality: Modality) -> tuple[EvaluationWindows, InputLayer]:
    """Open a modality by itself, since several may share a letter."""
    split, label = store.info["splits"][0], store.labels[0]
    data = SceneDataModule(
        store.name,
        str(store.root.parent),
        [modality.name],
        split=split,
        train_label=label,
        score_label=label,
        num_workers=0,
    )
    return data.evaluation_windows("test"), data.layers[0]
