"""The pictures of `imss diagnose`: one per table, and the robustness maps of a few scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmark.evaluation.inference import modality_picture, scene_file_stem

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from datamodules.base import SceneDataModule

Array = npt.NDArray[Any]
# table -> (title, label of the axis, column of the bars, column of their colours, column of error bars)
BARS = {
    "variance": (
        "Intra-class variance after fusion",
        "variance (all classes: 1)",
        "variance",
        "class",
        "",
    ),
    "silhouette": ("Silhouette of the classes", "silhouette", "silhouette", "maps", ""),
    "robustness": (
        "Robustness: share in the fusion",
        "mean share, std over scenes",
        "mean",
        "modality",
        "std",
    ),
    "sampling": (
        "Draws of single modalities in an epoch",
        "chance (bar), share drawn (dot)",
        "chance",
        "modality",
        "",
    ),
}


def draw_diagnostics(
    data: SceneDataModule,
    tables: Mapping[str, pd.DataFrame],
    maps: Mapping[str, Mapping[tuple[int, str], Array]],
    run: str,
    out: Path,
) -> None:
    """Write `<table>.png` for every table and `robustness_<scene>.png` for every scene of `maps`."""
    colours = {
        entry.name: tuple(part / 255 for part in entry.color) for entry in data.store.classes
    }
    for name, table in tables.items():
        figure = scatter(table, colours) if name == "tsne" else bars(table, *BARS[name], colours)
        title = "t-SNE of sampled pixels" if name == "tsne" else BARS[name][0]
        save(figure, f"{title}: {run}", out / f"{name}.png")
    scenes = {scene.id: scene for scene in data.splits["test"]}
    for scene, shares in maps.items():
        height, width = next(iter(shares.values())).shape
        modalities = list(dict.fromkeys(m for _, m in shares))
        pictures = {m: modality_picture(data, scenes[scene], m, height, width) for m in modalities}
        path = out / f"robustness_{scene_file_stem(scene)}.png"
        save(share_maps(pictures, shares), f"Robustness, scene {scene}: {run}", path)


def save(figure: Figure, title: str, path: Path) -> None:
    """Write a PNG under a title."""
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def bars(
    table: pd.DataFrame,
    title: str,
    label: str,
    value: str,
    group: str,
    error: str,
    colours: Mapping[str, Any],
) -> Figure:
    """A group of bars per scale, one bar for each entry of the column `group`."""
    wide = table.pivot(index="scale", columns=group, values=value)
    wide = wide[table[group].drop_duplicates().tolist()]
    figure, axis = plt.subplots(figsize=(4 + 0.14 * wide.size, 3.4), layout="constrained")
    width = 0.8 / len(wide.columns)
    for number, name in enumerate(wide.columns):
        places = np.arange(len(wide)) + (number - (len(wide.columns) - 1) / 2) * width
        own = table[table[group] == name].set_index("scale").loc[wide.index]
        axis.bar(
            places,
            own[value],
            width,
            yerr=own[error].fillna(0) if error else None,
            color=colours.get(name, f"C{number}"),
            edgecolor="0.4",
            linewidth=0.5,
            label=name,
        )
        if "draws" in own:
            axis.plot(places, own["draws"] / own["windows"], "k.", markersize=5)
    axis.axhline(0, color="0.4", linewidth=0.5)
    axis.set_xticks(range(len(wide)), [str(scale) for scale in wide.index])
    axis.set_xlabel("scale (1 is the finest)")
    axis.set_ylabel(label)
    columns = -(-len(wide.columns) // 13)  # as many lines as the figure is high
    figure.legend(loc="outside right center", fontsize=8, frameon=False, ncols=columns)
    return figure


def scatter(table: pd.DataFrame, colours: Mapping[str, Any]) -> Figure:
    """A row per scale, a column per kind of maps; on grey, since a class may be white."""
    scales, kinds = table["scale"].unique(), table["maps"].unique()
    figure, axes = plt.subplots(
        len(scales),
        len(kinds),
        figsize=(2.6 * len(kinds) + 1.4, 2.6 * len(scales) + 0.3),
        squeeze=False,
        layout="constrained",
    )
    classes = [name for name in colours if name in set(table["class"])]
    for (row, scale), (column, kind) in (
        (a, b) for a in enumerate(scales) for b in enumerate(kinds)
    ):
        axis = axes[row, column]
        own = table[(table["scale"] == scale) & (table["maps"] == kind)]
        _points(axis, own, classes, colours)
        if row == 0:
            axis.set_title(kind, fontsize=9)
        if column == 0:
            axis.set_ylabel(f"scale {scale}", fontsize=9)
    handles = axes[0, 0].collections
    figure.legend(
        handles, classes, loc="outside right upper", fontsize=8, markerscale=4, facecolor="0.8"
    )
    return figure


def _points(
    axis: Axes, table: pd.DataFrame, classes: Sequence[str], colours: Mapping[str, Any]
) -> None:
    for name in classes:
        own = table[table["class"] == name]
        axis.scatter(own["x"], own["y"], s=3, color=colours[name], linewidths=0)
    axis.set(xticks=[], yticks=[], facecolor="0.8")


def share_maps(pictures: Mapping[str, Array], shares: Mapping[tuple[int, str], Array]) -> Figure:
    """A row per modality: its picture, then its map at each scale; all maps from 0 (dark) to 1 (bright)."""
    scales = list(dict.fromkeys(scale for scale, _ in shares))
    columns = len(scales) + 1
    figure, axes = plt.subplots(
        len(pictures),
        columns,
        figsize=(2.3 * columns + 0.8, 2.4 * len(pictures) + 0.4),
        squeeze=False,
        layout="constrained",
    )
    for line, (m, picture) in zip(axes, pictures.items(), strict=True):
        line[0].imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        line[0].set_title(m, fontsize=9)
        for axis, scale in zip(line[1:], scales, strict=True):
            shown = shares[scale, m]
            axis.imshow(shown, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
            axis.set_title(f"scale {scale}: mean {np.nanmean(shown):.2f}", fontsize=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(axes[0, 1].images[0], ax=axes[:, -1], shrink=0.7, label="share")
    return figure
