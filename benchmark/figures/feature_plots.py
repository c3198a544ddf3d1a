"""Pictures of features: one per table, and the robustness maps of a few scenes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from benchmark.evaluation.inference import modality_picture, scene_file_stem
from benchmark.figures.picture_grid import AS_IT_IS, picture_grid, save_figure

if TYPE_CHECKING:
    from datamodules.base import SceneDataModule

Array = npt.NDArray[Any]


class Bars(NamedTuple):
    """How a table is drawn: columns of bars, colours and error bars; label of the axis."""

    value: str
    group: str
    label: str
    error: str = ""


BARS = {
    "variance": Bars("variance", "class", "variance (all classes: 1)"),
    "silhouette": Bars("silhouette", "maps", "silhouette"),
    "robustness": Bars("mean", "modality", "mean share, std over scenes", "std"),
    "sampling": Bars("chance", "modality", "chance (bar), share drawn (dot)"),
}
TITLES = {
    "variance": "Intra-class variance after fusion",
    "silhouette": "Silhouette of the classes",
    "tsne": "t-SNE of sampled pixels",
    "robustness": "Robustness: share in the fusion",
    "sampling": "Draws of single modalities in an epoch",
}


def draw_diagnostics(
    data: SceneDataModule,
    tables: Mapping[str, pd.DataFrame],
    maps: Mapping[str, Mapping[tuple[int, str], Array]],
    run: str,
    out: Path,
) -> None:
    """Write `<table>.png` for every table and `robustness_<scene>.png` for every mapped scene."""
    colours = {}
    for entry in data.store.classes:
        colours[entry.name] = tuple(np.array(entry.color) / 255)
    for name, table in tables.items():
        scatter = name == "tsne"
        figure = draw_scatter(table, colours) if scatter else draw_bars(table, BARS[name], colours)
        save_figure(figure, f"{TITLES[name]}: {run}", out / f"{name}.png")
    scenes = {scene.id: scene for scene in data.splits["test"]}
    for scene, shares in maps.items():
        height, width = next(iter(shares.values())).shape
        pictures = {}
        for _, m in shares:
            if m not in pictures:
                pictures[m] = modality_picture(data, scenes[scene], m, height, width)
        path = out / f"robustness_{scene_file_stem(scene)}.png"
        save_figure(draw_share_maps(pictures, shares), f"Robustness, scene {scene}: {run}", path)


def draw_bars(table: pd.DataFrame, bars: Bars, colours: Mapping[str, Any]) -> Figure:
    """Draw a group of bars per scale, one bar for each entry of the group's column."""
    wide = table.pivot(index="scale", columns=bars.group, values=bars.value)
    # in the table's order, which is the dataset's; pivot sorts by name
    wide = wide[table[bars.group].drop_duplicates().tolist()]
    figure, [[axis]] = picture_grid(1, 1, (4 + 0.14 * wide.size, 3.4))
    width = 0.8 / len(wide.columns)
    for number, name in enumerate(wide.columns):
        places = np.arange(len(wide)) + (number - (len(wide.columns) - 1) / 2) * width
        own = table[table[bars.group] == name].set_index("scale").loc[wide.index]
        style: dict[str, Any] = {"edgecolor": "0.4", "linewidth": 0.5, "label": name}
        style["color"] = colours.get(name, f"C{number}")
        if bars.error:
            style["yerr"] = own[bars.error].fillna(0)
        axis.bar(places, own[bars.value], width, **style)
        if "draws" in own:
            axis.plot(places, own["draws"] / own["windows"], "k.", markersize=5)
    axis.axhline(0, color="0.4", linewidth=0.5)
    axis.set_xticks(range(len(wide)), wide.index.astype(str))
    axis.set_xlabel("scale (1 is the finest)")
    axis.set_ylabel(bars.label)
    columns = -(-len(wide.columns) // 13)  # as many lines as the figure is high
    figure.legend(loc="outside right center", fontsize=8, frameon=False, ncols=columns)
    return figure


def draw_scatter(table: pd.DataFrame, colours: Mapping[str, Any]) -> Figure:
    """Draw a row per scale, a column per kind of maps."""
    scales, kinds = table["scale"].unique(), table["maps"].unique()
    size = 2.6 * len(kinds) + 1.4, 2.6 * len(scales) + 0.3
    figure, axes = picture_grid(len(scales), len(kinds), size)
    classes = [name for name in colours if name in set(table["class"])]
    for line, scale in zip(axes, scales, strict=True):
        line[0].set_ylabel(f"scale {scale}", fontsize=9)
        for axis, kind in zip(line, kinds, strict=True):
            own = table[(table["scale"] == scale) & (table["maps"] == kind)]
            for name in classes:
                points = own[own["class"] == name]
                axis.scatter(points["x"], points["y"], s=3, color=colours[name], linewidths=0)
            # grey, since a class may be white
            axis.set(xticks=[], yticks=[], facecolor="0.8")
    for axis, kind in zip(axes[0], kinds, strict=True):
        axis.set_title(kind, fontsize=9)
    style: dict[str, Any] = {"fontsize": 8, "markerscale": 4, "facecolor": "0.8"}
    figure.legend(axes[0, 0].collections, classes, loc="outside right upper", **style)
    return figure


def draw_share_maps(
    pictures: Mapping[str, Array], shares: Mapping[tuple[int, str], Array]
) -> Figure:
    """Draw a row per modality: its picture, then its map at each scale, all from 0 to 1."""
    scales = list(dict.fromkeys(scale for scale, _ in shares))
    columns = len(scales) + 1
    size = 2.3 * columns + 0.8, 2.4 * len(pictures) + 0.4
    figure, axes = picture_grid(len(pictures), columns, size)
    for line, (m, picture) in zip(axes, pictures.items(), strict=True):
        line[0].imshow(picture, **AS_IT_IS)
        line[0].set_title(m, fontsize=9)
        for axis, scale in zip(line[1:], scales, strict=True):
            shown = shares[scale, m]
            axis.imshow(shown, **AS_IT_IS | {"cmap": "viridis"})
            axis.set_title(f"scale {scale}: mean {np.nanmean(shown):.2f}", fontsize=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(axes[0, 1].images[0], ax=axes[:, -1], shrink=0.7, label="share")
    return figure
