"""The contact sheet of a scene store: rows of scenes, columns of rasters, class shares and statistics below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmark.figures.dataset_summary import KEYS, Statistics, ignored_share, per_cent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    from datamodules.store.class_frequencies import ClassShares
    from datamodules.store.rendering import Picture
    from datamodules.store.scene_store import Modality, Scene, SceneStore

Array = npt.NDArray[Any]
DPI = 120
# inches
LEFT, RIGHT, GAP = 1.45, 0.2, 0.12
HEAD, NOTE, TITLES, BELOW = (
    0.75,
    0.25,
    0.42,
    0.34,
)  # the latter: room under a row for its colour bars
CELL, NARROWEST, LARGEST_CELL = 2.1, 13.5, 2.9
LINE, ROW_LINE = 0.19, 0.15  # of the class shares and the table; of the text beside a row
TABLE = 6.3
TABLE_ROWS = 26  # bands; the file has all


def save(
    store: SceneStore,
    split: str,
    scenes: Sequence[Scene],
    shares: dict[str, ClassShares],
    statistics: Statistics,
    out: Path,
    blend: float,
) -> None:
    """Write the contact sheet as a PNG file, see `compose`."""
    figure = compose(store, split, scenes, shares, statistics, blend)
    figure.savefig(out, dpi=DPI)


def compose(
    store: SceneStore,
    split: str,
    scenes: Sequence[Scene],
    shares: dict[str, ClassShares],
    statistics: Statistics,
    blend: float,
) -> Figure:
    """Draw the sheet.

    Args:
        store: the dataset.
        split: split column that the parts are named after.
        scenes: one row each.
        shares: {part: class shares} of the first label column.
        statistics: rows of the table, see `show.training_statistics`.
        blend: part of the label in the mixture with the image in the last column; 0 leaves the column out.

    Returns:
        A figure whose cells are axes labelled `<scene> <column>`; the mixture's column is called `overlay`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = [*store.modalities, *store.labels, *(["overlay"] if blend else [])]
    width = max(NARROWEST, LEFT + len(columns) * (CELL + GAP) + RIGHT)
    cell = min(LARGEST_CELL, (width - LEFT - RIGHT) / len(columns) - GAP)
    titles = [_row_title(scene, split, store.info["conditions"]) for scene in scenes]
    heights = [
        max(cell * min(2.0, scene.height / scene.width), ROW_LINE * len(lines) - BELOW / 2)
        for scene, lines in zip(scenes, titles, strict=True)
    ]
    panels = LINE * max(len(store.classes) + 1, min(TABLE_ROWS + 1, len(statistics)) + 2) + 0.75
    first = HEAD + TITLES + (NOTE if split in store.info.get("split_notes", {}) else 0)
    height = first + sum(heights) + BELOW * len(scenes) + panels
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    _head(figure, store, split)
    from datamodules.store.rendering import ignore_colour

    ignored = ignore_colour(store.classes)
    top = first
    for scene, lines, room in zip(scenes, titles, heights, strict=True):
        for line, (text, weight) in enumerate(lines):
            down = 1 - (top + ROW_LINE * line) / height
            figure.text(0.15 / width, down, text, va="top", fontsize=8, fontweight=weight)
        pictures = _pictures(store, scene, int(cell * DPI), ignored, blend)
        for number, column in enumerate(columns):
            place = (LEFT + number * (cell + GAP), top, cell, room)
            axis = _axis(figure, place, scene.height / scene.width)
            axis.set_label(f"{scene.id} {column}")
            _cell(figure, axis, pictures.get(column), store.modalities.get(column))
            if top == first:
                _column_title(figure, axis, store, column, blend)
        top += room + BELOW
    _share_panel(figure, store, shares, ignored, top + 0.3, width - TABLE - 0.5)
    _table_panel(figure, statistics, top + 0.3, width - TABLE)
    return figure


def _row_title(scene: Scene, split: str, conditions: Sequence[str]) -> list[tuple[str, str]]:
    """Lines of text and their weights."""
    facts = [scene.splits[split], f"{scene.height} x {scene.width} px"]
    facts += [f"{name}: {scene.attributes.get(name) or '-'}" for name in conditions]
    id_ = [line for part in scene.id.split("/") for line in _wrapped(part, 17)]
    return [*((line, "bold") for line in id_), *((line, "normal") for line in facts)]


def _wrapped(text: str, room: int) -> list[str]:
    """Break a name into lines, after `_` where there is one, so that numbers stay whole."""
    spaced = text.replace("_", "_ ")
    return [line.replace("_ ", "_") for line in textwrap.wrap(spaced, room, break_on_hyphens=False)]


def _head(figure: Figure, store: SceneStore, split: str) -> None:
    info = store.info
    parts = ", ".join(f"{len(scenes)} {part}" for part, scenes in store.split(split).items())
    unused = sum(scene.splits[split] == "unused" for scene in store.scenes)
    facts = [
        f"{len(store.scenes)} scenes",
        f"{split}: {parts}" + (f", {unused} unused" if unused else ""),
        "pixel side not known" if info["gsd_m"] is None else f"pixel side {info['gsd_m']:g} m",
        f"{len(info['missing'])} missing rasters" if info["missing"] else "no missing rasters",
        f"{len(info['warnings'])} warning" + ("" if len(info["warnings"]) == 1 else "s"),
        f"fingerprint {store.fingerprint[:12]}",
    ]
    width, height = figure.get_size_inches()
    lines = [(f"{store.name}: {info['title']}", 14, "bold"), ("   |   ".join(facts), 9, "normal")]
    if note := info.get("split_notes", {}).get(split):
        lines.append((f"{split}: {note}", 8, "normal"))
    for (text, size, weight), down in zip(lines, (0.15, 0.47, 0.68), strict=False):
        figure.text(
            0.15 / width,
            1 - down / height,
            _shorten(text, width, size),
            va="top",
            fontsize=size,
            fontweight=weight,
        )


def _shorten(text: str, inches: float, size: float) -> str:
    room = int(inches * 72 / (0.55 * size))
    return text if len(text) <= room else text[: room - 3] + "..."


def _axis(figure: Figure, place: tuple[float, float, float, float], aspect: float) -> Axes:
    """An axis with the aspect (height / width) of its scene in the upper left of `place` (left, top, width, height)."""
    left, top, width, height = place
    scale = min(width, height / aspect)
    total_width, total_height = figure.get_size_inches()
    box = (left / total_width, 1 - (top + scale * aspect) / total_height)
    axis = figure.add_axes((*box, scale / total_width, scale * aspect / total_height))
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_linewidth(0.5)
        spine.set_color("0.4")
    return axis


def _column_title(figure: Figure, axis: Axes, store: SceneStore, column: str, blend: float) -> None:
    modality = store.modalities.get(column)
    if modality is not None:
        title = f"{modality.letter}   {column}"
        kind = modality.kind.replace("_", " ")
        detail = f"{kind}, {modality.channels} x {modality.dtype}, {modality.unit}"
        detail += "; bands 1, 2, 3" if modality.channels > 3 and modality.kind != "lidar" else ""
    elif column == "overlay":
        title, detail = "alignment", f"{100 * blend:.0f} % label over the image"
    else:
        title, detail = column, "class colours as below"
    axis.text(
        0,
        1,
        f"{detail}\n",
        transform=axis.transAxes,
        va="bottom",
        fontsize=7,
        color="0.35",
        linespacing=0.5,
    )
    axis.annotate(
        title,
        (0, 1),
        (0, 15),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=10,
        fontweight="bold",
    )


def _pictures(
    store: SceneStore, scene: Scene, side: int, ignored: tuple[int, int, int], blend: float
) -> dict[str, Picture | Array]:
    """{column: picture} of the rasters the scene has; labels and the mixture are uint8 H x W x 3."""
    from datamodules.store.rendering import SPARSE, read_downsampled, render_label, render_modality

    found: dict[str, Picture | Array] = {}
    for name, modality in store.modalities.items():
        if name in scene.paths:
            # thin returns are pooled to what is drawn; all else is smoothed or picked by the drawing itself
            size = side if modality.kind in SPARSE else 2 * side
            found[name] = render_modality(
                read_downsampled(scene.paths[name], modality, size), modality
            )
    for name in store.labels:
        if name in scene.paths:
            found[name] = render_label(
                read_downsampled(scene.paths[name], None, 2 * side)[0], store.classes, ignored
            )
    first = store.labels[0]
    optical = [
        name
        for name, modality in store.modalities.items()
        if name in found and modality.kind == "optical"
    ]
    dense = [
        name
        for name, modality in store.modalities.items()
        if name in found and modality.kind not in SPARSE
    ]
    if blend and first in found and dense:
        ground = found[optical[0] if optical else dense[0]]
        found["overlay"] = _mixture(ground, found[first], ignored, blend)  # type: ignore[arg-type]
    return found


def _mixture(ground: Picture, label: Array, ignored: tuple[int, int, int], blend: float) -> Array:
    """uint8 H x W x 3: class colours over the picture; pixels without class show the picture alone."""
    image = np.nan_to_num(
        ground.image if ground.image.ndim == 3 else np.stack([ground.image] * 3, axis=-1)
    )
    part = np.where((label == ignored).all(axis=-1, keepdims=True), 0.0, blend)
    return np.round((1 - part) * 255 * image + part * label).astype(np.uint8)


def _cell(
    figure: Figure, axis: Axes, shown: Picture | Array | None, modality: Modality | None
) -> None:
    """Draw one raster; what is missing, whole or in part, shows the hatched ground."""
    from matplotlib.patches import Rectangle

    axis.add_patch(
        Rectangle(
            (0, 0),
            1,
            1,
            transform=axis.transAxes,
            facecolor="0.93",
            edgecolor="0.6",
            hatch="///",
            lw=0,
        )
    )
    if shown is None:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
        axis.text(
            0.5,
            0.5,
            "missing",
            transform=axis.transAxes,
            ha="center",
            va="center",
            fontsize=10,
            bbox=box,
        )
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        return
    if isinstance(shown, np.ndarray):
        axis.imshow(shown, interpolation="nearest", aspect="auto", zorder=2)
        return
    smooth = "nearest" if modality is not None and modality.kind in ("event", "lidar") else "auto"
    if shown.image.ndim == 3:
        alpha = np.isfinite(shown.image).all(axis=-1, keepdims=True)
        axis.imshow(
            np.concatenate([np.nan_to_num(shown.image), alpha], -1),
            interpolation=smooth,
            aspect="auto",
            zorder=2,
        )
        return
    colours = _colours(modality)
    axis.imshow(
        shown.image, cmap=colours, vmin=0, vmax=1, interpolation=smooth, aspect="auto", zorder=2
    )
    if modality is None or shown.low is None or shown.high is None:
        return
    place, thick = axis.get_position(), 0.055 / figure.get_size_inches()[1]
    bar = figure.add_axes((place.x0, place.y0 - 1.9 * thick, place.width, thick))
    bar.imshow(np.linspace(0, 1, 256)[None], cmap=colours, aspect="auto")
    bar.set_axis_off()
    band = (
        ""
        if modality.channels == 1
        else f"band {shown.bands[0]}"
        if len(shown.bands) == 1
        else "strongest band"
    )
    for x, text, side in (
        (0.0, number(shown.low), "left"), (0.5, band, "center"), (1.0, f"{number(shown.high)} {shown.unit}", "right")
    ):  # fmt: skip
        bar.annotate(
            text,
            (x, 0),
            (0, -2),
            xycoords="axes fraction",
            textcoords="offset points",
            va="top",
            ha=side,
            fontsize=6.5,
        )


def _colours(modality: Modality | None) -> Colormap:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    kind = modality.kind if modality is not None else ""
    if kind == "lidar":  # the weakest return must stand out from no return
        return ListedColormap(["black", *colormaps["plasma"](np.linspace(0.35, 1, 255))])
    return colormaps["viridis" if kind.startswith("height") or kind == "depth" else "gray"]


def _panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    total_width, total_height = figure.get_size_inches()
    box = (
        left / total_width,
        1 - (top + height) / total_height,
        width / total_width,
        height / total_height,
    )
    return figure.add_axes(box)


def _share_panel(
    figure: Figure,
    store: SceneStore,
    shares: dict[str, ClassShares],
    ignored: tuple[int, int, int],
    top: float,
    width: float,
) -> None:
    """Bars of the class shares, one group of bars per part of the split; the ignored share below."""
    names = [entry.name for entry in store.classes]
    colours = [
        tuple(value / 255 for value in colour)
        for colour in (*(e.color for e in store.classes), ignored)
    ]
    left = 0.35 + 0.075 * max(len(name) for name in (*names, "ignored"))
    each = (width - left) / len(shares)
    highest = max(max(one.shares.max(), ignored_share(one)) for one in shares.values())
    for place, (part, one) in enumerate(shares.items()):
        values = [*one.shares, ignored_share(one)]
        axis = _panel(figure, left + place * each, top, each - 0.12, LINE * len(values))
        axis.set_label(f"shares {part}")
        axis.barh(
            range(len(values)), values, color=colours, edgecolor="0.4", linewidth=0.5, height=0.78
        )
        for row, value in enumerate(values):
            axis.text(value + 0.02 * highest, row, per_cent(value), va="center", fontsize=7)
        axis.set_xlim(0, 1.3 * max(highest, 1e-9))
        axis.set_ylim(len(values) - 0.5, -0.5)
        axis.set_xticks([])
        axis.set_yticks(
            range(len(values)),
            [*names, "ignored"] if place == 0 else [""] * len(values),
            fontsize=8,
        )
        axis.tick_params(length=0, pad=13)
        if place == 0:  # the legend: a class without pixels has no bar to show its colour
            axis.scatter(
                [-0.1 / (each - 0.12)] * len(values), range(len(values)), s=40, c=colours, marker="s", clip_on=False,
                transform=axis.get_yaxis_transform(), edgecolors="0.4", linewidths=0.5,
            )  # fmt: skip
        for side in ("top", "right", "bottom"):
            axis.spines[side].set_visible(False)
        axis.set_title(f"{part} ({one.scenes})", fontsize=8, loc="left", fontweight="bold")
    axis.annotate(
        "class shares in per cent of the labelled pixels (number of scenes); ignored: of all pixels", (1, 0), (0, -4),
        xycoords="axes fraction", textcoords="offset points", va="top", ha="right", fontsize=6.5, color="0.35",
    )  # fmt: skip


def _table_panel(figure: Figure, statistics: Statistics, top: float, left: float) -> None:
    """Statistics of the training scenes as a table."""
    rows = statistics[:TABLE_ROWS]
    axis = _panel(figure, left, top, TABLE - 0.2, LINE * (len(rows) + 1))
    axis.set_label("statistics")
    axis.set_axis_off()
    axis.set_xlim(0, 1)
    axis.set_ylim(len(rows) + 0.5, -0.5)
    axis.set_title("statistics of the training scenes", fontsize=8, loc="left", fontweight="bold")
    places = [0.0, 0.2, 0.25, *np.linspace(0.42, 1.0, len(KEYS))]
    several = {row["raster"] for row in statistics if row["band"] > 1}
    for place, text in zip(places, ["raster", "", "unit", *KEYS], strict=True):
        axis.text(
            place,
            0,
            text,
            fontsize=7.5,
            color="0.35",
            ha="right" if place > 0.4 else "left",
            va="center",
        )
    for line, row in enumerate(rows, start=1):
        name = row["raster"] if row["band"] == 1 else ""
        band = str(row["band"]) if row["raster"] in several else ""
        cells = [_shorten(name, 1.15, 7.5), band, _shorten(row["unit"], 0.6, 7.5)]
        cells += ["-" if row[key] is None else number(row[key]) for key in KEYS]
        for place, text in zip(places, cells, strict=True):
            axis.text(
                place, line, text, fontsize=7.5, ha="right" if place > 0.4 else "left", va="center"
            )
    more = (
        f"{len(statistics) - len(rows)} more bands in statistics.csv; "
        if len(statistics) > len(rows)
        else ""
    )
    axis.annotate(
        f"{more}p05, p95: mean of the scenes' own percentiles", (1, 0), (0, -4), xycoords="axes fraction",
        textcoords="offset points", va="top", ha="right", fontsize=6.5, color="0.35",
    )  # fmt: skip


def number(value: float) -> str:
    """A value of a raster as short text."""
    return (
        f"{value:.0f}"
        if abs(value) >= 1000
        else f"{value:.3g}"
        if abs(value) < 1
        else f"{value:.4g}"
    )
