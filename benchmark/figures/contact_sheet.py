"""The contact sheet of a scene store: a row per scene, a column per raster, statistics below."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from benchmark.figures.dataset_summary import KEYS, Statistics, per_cent
from datamodules.store import rendering

if TYPE_CHECKING:
    from datamodules.store.class_frequencies import ClassShares
    from datamodules.store.scene_store import Modality, Scene, SceneStore

# a dollar in a name is no formula
rcParams["text.parse_math"] = False
Cell = rendering.Picture | npt.NDArray[Any]
DPI = 120
TITLE_INCHES, CELL_INCHES, NARROWEST = 1.3, (2.1, 2.9), 13.5
LINE_INCHES = 0.19  # of the class shares and the table
TABLE_ROWS = 26  # bands; the CSV file has all
GREY, GROUND = "0.35", "0.93"


def compose_sheet(
    store: SceneStore,
    split: str,
    scenes: Sequence[Scene],
    shares: Mapping[str, ClassShares],
    statistics: Statistics,
    blend: float,
) -> Figure:
    """Draw the sheet; its cells are axes labelled `<scene> <column>`.

    `shares`, by part of the split, are of the first label column; `blend` is the part of the label
    in the mixture with the image in the last column, `overlay`, which 0 leaves out.
    """
    columns = [*store.modalities, *store.labels, *(["overlay"] if blend else [])]
    # few columns fill the narrowest sheet, many widen it
    room = (NARROWEST - TITLE_INCHES) / len(columns)
    cell = min(max(room, CELL_INCHES[0]), CELL_INCHES[1])
    heights = [max(cell * min(2.0, scene.height / scene.width), 0.9) + 0.35 for scene in scenes]
    panels = LINE_INCHES * max(len(store.classes) + 3, min(len(statistics), TABLE_ROWS) + 5)
    width = max(NARROWEST, TITLE_INCHES + cell * len(columns))
    figure = Figure(figsize=(width, 1.3 + sum(heights) + panels), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)  # no pyplot: nothing to close, and no window system is asked for
    title = f"{store.name}: {store.info['title']}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    parts = [sum(heights) + 0.7, panels]
    above, below = figure.subfigures(2, 1, height_ratios=parts)  # type: ignore[misc]
    above.suptitle(describe_store(store, split), x=0.01, ha="left", fontsize=9)
    layout = [[f"{scene.id} {name}" for name in ("title", *columns)] for scene in scenes]
    widths = [TITLE_INCHES, *[cell] * len(columns)]
    axes = above.subplot_mosaic(layout, width_ratios=widths, height_ratios=heights)
    for scene in scenes:
        _draw_scene_title(axes[f"{scene.id} title"], scene, split, store.info["conditions"])
        pictures = scene_pictures(store, scene, int(cell * DPI), blend)
        for column in columns:
            axis = axes[f"{scene.id} {column}"]
            axis.set_label(f"{scene.id} {column}")
            _draw_cell(axis, scene, pictures.get(column), store.modalities.get(column))
            if scene is scenes[0]:
                _draw_column_title(axis, store.modalities.get(column), column, blend)
    _draw_panels(below, store, shares, statistics)
    return figure


def describe_store(store: SceneStore, split: str) -> str:
    """Say in two lines how many scenes a store has in which parts, and what it lacks."""
    info = store.info
    parts = [f"{len(scenes)} {part}" for part, scenes in store.split(split).items()]
    if unused := sum(scene.splits[split] == "unused" for scene in store.scenes):
        parts.append(f"{unused} unused")
    facts = [
        f"{len(store.scenes)} scenes",
        f"{split}: {', '.join(parts)}",
        "pixel side not known" if info["gsd_m"] is None else f"pixel side {info['gsd_m']:g} m",
        f"{len(info['missing'])} missing rasters" if info["missing"] else "no missing rasters",
        f"{len(info['warnings'])} warning" + ("" if len(info["warnings"]) == 1 else "s"),
        f"fingerprint {store.fingerprint[:12]}",
    ]
    text = "   |   ".join(facts)
    note = info.get("split_notes", {}).get(split)
    return f"{text}\n{split}: {textwrap.shorten(note, 190)}" if note else text


def scene_pictures(store: SceneStore, scene: Scene, side: int, blend: float) -> dict[str, Cell]:
    """Read the rasters of a scene, at most about `side` pixels a side, as {column: picture}.

    Labels and the mixture are uint8 `(H, W, 3)`.
    """
    found: dict[str, Cell] = {}
    ground: rendering.Picture | None = None  # the first optical raster, else the first dense one
    optical = False
    for name, modality in store.modalities.items():
        if name not in scene.paths:
            continue
        # thin returns are pooled to what is drawn; all else is smoothed by the drawing itself
        sparse = modality.kind in rendering.SPARSE
        longest = side if sparse else 2 * side
        pixels = rendering.read_downsampled(scene.paths[name], modality, longest)
        found[name] = picture = rendering.render_modality(pixels, modality)
        if not sparse and (ground is None or (modality.kind == "optical" and not optical)):
            ground, optical = picture, modality.kind == "optical"
    ignored = rendering.ignore_colour(store.classes)
    for name in store.labels:
        if name in scene.paths:
            ids = rendering.read_downsampled(scene.paths[name], None, 2 * side)[0]
            found[name] = rendering.render_label(ids, store.classes, ignored)
    label = found.get(store.labels[0])
    if blend and ground is not None and isinstance(label, np.ndarray):
        image = np.nan_to_num(ground.image)
        image = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)
        # pixels without class show the image alone
        part = np.where((label == ignored).all(axis=-1, keepdims=True), 0.0, blend)
        found["overlay"] = np.round((1 - part) * 255 * image + part * label).astype(np.uint8)
    return found


def format_value(value: float | None) -> str:
    """Write a value of a raster as short text.

    Example:
        >>> format_value(12345.6), format_value(0.01234), format_value(31.256), format_value(None)
        ('12346', '0.0123', '31.26', '-')
    """
    if value is None:
        return "-"
    digits = ".0f" if abs(value) >= 1000 else ".3g" if abs(value) < 1 else ".4g"
    return f"{value:{digits}}"


def _draw_scene_title(axis: Axes, scene: Scene, split: str, conditions: Sequence[str]) -> None:
    axis.set_axis_off()
    # a break after `_` keeps numbers whole
    wrapped = textwrap.wrap(scene.id.replace("_", "_ ").replace("/", "/ "), 17)
    name = "\n".join(line.replace("_ ", "_").replace("/ ", "/") for line in wrapped)
    facts = [scene.splits[split], f"{scene.height} x {scene.width} px"]
    facts += [f"{column}: {scene.attributes.get(column) or '-'}" for column in conditions]
    axis.text(0, 1, name, va="top", fontsize=8, fontweight="bold")
    axis.text(0, 1, "\n" * len(wrapped) + "\n".join(facts), va="top", fontsize=8)


def _draw_column_title(axis: Axes, modality: Modality | None, column: str, blend: float) -> None:
    title, detail = column, "class colours as below"
    if modality is not None:
        title = f"{modality.letter}   {column}"
        kind = modality.kind.replace("_", " ")
        detail = f"{kind}, {modality.channels} x {modality.dtype}, {modality.unit}"
        if modality.channels > 3 and modality.kind != "lidar":
            title += f"   bands {', '.join(map(str, rendering.shown_bands(modality)))}"
    elif column == "overlay":
        title, detail = "alignment", f"{100 * blend:.0f} % label over the image"
    axis.set_title(detail, loc="left", fontsize=7, color=GREY, pad=3)
    offset: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axis.annotate(title, (0, 1), (0, 13), fontsize=10, fontweight="bold", **offset)


def _draw_cell(axis: Axes, scene: Scene, shown: Cell | None, modality: Modality | None) -> None:
    """Draw one raster; what is missing, whole or in part, shows the hatched ground."""
    axis.set(xticks=[], yticks=[], anchor="NW")
    axis.spines[:].set(linewidth=0.5, color="0.4")
    hatch: dict[str, Any] = {"facecolor": GROUND, "edgecolor": "0.6", "hatch": "///", "lw": 0}
    axis.add_patch(Rectangle((0, 0), 1, 1, transform=axis.transAxes, **hatch))
    if shown is None:
        axis.set_box_aspect(scene.height / scene.width)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
        axis.text(0.5, 0.5, "missing", ha="center", va="center", bbox=box)
        return
    if isinstance(shown, np.ndarray):
        axis.imshow(shown, interpolation="nearest", zorder=2)
        return
    assert modality is not None
    smooth = "nearest" if modality.kind in ("event", "lidar") else "auto"
    if shown.image.ndim == 3:
        alpha = np.isfinite(shown.image).all(axis=-1, keepdims=True)
        image = np.concatenate([np.nan_to_num(shown.image), alpha], -1)
        axis.imshow(image, interpolation=smooth, zorder=2)
        return
    colours = colour_map(modality)
    axis.imshow(shown.image, cmap=colours, vmin=0, vmax=1, interpolation=smooth, zorder=2)
    if shown.low is None or shown.high is None:
        return
    band = f"band {shown.bands[0]}" if len(shown.bands) == 1 else "strongest band"
    # inside the cell's axes, so that a cell with a bar is as large as one without
    bar = axis.inset_axes((0, -0.06, 1, 0.025))
    bar.imshow(np.linspace(0, 1, 256)[None], cmap=colours, aspect="auto")
    bar.set_axis_off()
    texts = [format_value(shown.low), "" if modality.channels == 1 else band]
    texts.append(f"{format_value(shown.high)} {shown.unit}")
    for place, text, side in zip((0, 0.5, 1), texts, ("left", "center", "right"), strict=True):
        bar.text(place, -0.5, text, transform=bar.transAxes, va="top", ha=side, fontsize=6.5)


def colour_map(modality: Modality) -> Colormap:
    """Colour heights and laser returns, leave all else grey."""
    if modality.kind == "lidar":  # the weakest return must stand out from no return
        return ListedColormap(["black", *colormaps["plasma"](np.linspace(0.35, 1, 255))])
    heights = modality.kind.startswith("height") or modality.kind == "depth"
    return colormaps["viridis" if heights else "gray"]


def _draw_panels(
    figure: SubFigure, store: SceneStore, shares: Mapping[str, ClassShares], statistics: Statistics
) -> None:
    """Draw the class shares of every part, and the statistics of the training scenes."""
    names = [f"shares {part}" for part in shares]
    widths = [*[6.5 / len(names)] * len(names), 6.3]
    axes = figure.subplot_mosaic([[*names, "statistics"]], width_ratios=widths)
    ignored = rendering.ignore_colour(store.classes)
    known = [(entry.name, entry.color) for entry in store.classes]
    labels, colours = zip(*known, ("ignored", ignored), strict=True)
    rows, painted = np.arange(len(labels)), np.array(colours) / 255
    heights = {part: [*one.shares, one.ignored_share] for part, one in shares.items()}
    # one scale for all parts, or their bars could not be compared
    highest = np.max(list(heights.values())) or 1.0
    for part, values in heights.items():
        axis = axes[f"shares {part}"]
        axis.set_label(f"shares {part}")
        axis.barh(rows, values, color=painted, edgecolor="0.4", linewidth=0.5, height=0.78)
        # a class without pixels has no bar to show its colour
        square: dict[str, Any] = {"marker": "s", "s": 40, "edgecolors": "0.4", "linewidths": 0.5}
        axis.scatter(np.full(len(rows), -0.08 * highest), rows, c=painted, **square)
        for row, value in enumerate(values):
            axis.text(value + 0.02 * highest, row, per_cent(value), va="center", fontsize=7)
        axis.set(xlim=(-0.14 * highest, 1.3 * highest), ylim=(len(rows) - 0.5, -0.5), xticks=[])
        axis.set_yticks(rows, labels if part == next(iter(shares)) else [], fontsize=8)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_title(f"{part} ({shares[part].scenes})", loc="left", fontsize=8, fontweight="bold")
    note = "class shares in per cent of the labelled pixels (number of scenes); ignored: of all"
    axes[names[0]].set_xlabel(note, loc="left", fontsize=6.5, color=GREY)
    _draw_statistics(axes["statistics"], statistics)


def _draw_statistics(axis: Axes, statistics: Statistics) -> None:
    axis.set_label("statistics")
    axis.set_axis_off()
    title = "statistics of the training scenes; p05, p95: mean of the scenes' own percentiles"
    if len(statistics) > TABLE_ROWS:
        title += f"; {len(statistics) - TABLE_ROWS} more bands in statistics.csv"
    axis.set_title(title, loc="left", fontsize=8)
    cells = []
    for row in statistics[:TABLE_ROWS]:
        values = map(format_value, itemgetter(*KEYS)(row))
        cells.append([f"{row['raster']} {row['band']}", row["unit"], *values])
    widths = [0.2, 0.12, *[0.68 / len(KEYS)] * len(KEYS)]
    headings = ["raster, band", "unit", *KEYS]
    table = axis.table(cells, colLabels=headings, colWidths=widths, loc="upper left", edges="B")
    table.auto_set_font_size(False)
    table.set_fontsize(7.5)
    for (_, column), drawn in table.get_celld().items():
        drawn.set(edgecolor="0.85")
        drawn.get_text().set_horizontalalignment("left" if column < 2 else "right")
