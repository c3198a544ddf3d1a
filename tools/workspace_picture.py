"""Draw docs/images/wandb_workspace.png: the workspace of the miniature, as it is meant to look.

The panels are those that `make wandb-workspace` saves; what they show is of the published records,
means over seeds with their standard deviation, as W&B groups runs. W&B itself was not asked.

    .venv/bin/python -m tools.workspace_picture
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

from benchmark.records.record import Record, search_records
from benchmark.tracking.wandb_summary import summary_metrics
from benchmark.tracking.wandb_workspace import workspace_sections

ROOT = Path(__file__).resolve().parents[1]
LETTERS = {"rgb": "R", "dsm": "D", "nir": "N"}
ROWS = (
    "unetplusplus_dropout",
    "deeplabv3plus_dropout",
    "unet_dropout",
    "segformer_early_dropout",
    "m3l",
)
SHOWN = ("Leaderboard", "Subsets", "Cost", "Curves")
COLUMNS = 3
Table = dict[str, pd.DataFrame]


def read_table() -> Table:
    """Return the keys of every seed, by row."""
    costs = pd.read_csv(ROOT / "results/complexity/miniature.csv")
    # `unet_dropout (control)`
    costs = costs.set_index(costs["method"].str.split(" ").str[0])
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ROWS}
    for record in search_records([ROOT / "results/records/miniature"])[0]:
        entry = record.manifest
        if entry.variant in found and entry.steps == 300 and entry.protocol.name == "standard":
            keys: dict[str, Any] = {**summary_metrics(record.scores()), "seed": entry.seed}
            keys |= {"fit_s": entry.durations["fit_s"], "curves": read_curves(record)}
            cost = costs.loc[entry.variant]
            keys |= {"parameters_m": cost["trainable"] / 1e6, "gmac": cost["GMAC R+D+N"]}
            found[entry.variant].append(keys)
    return {name: pd.DataFrame(seeds) for name, seeds in found.items()}


def read_curves(record: Record) -> pd.DataFrame:
    """Return the published curves of a record."""
    return pd.concat(pd.read_csv(path) for path in sorted((record.path / "logs").glob("*.csv")))


def draw_bars(axes: Axes, key: str, table: Table) -> None:
    """Draw a bar per row."""
    names = list(table)[::-1]
    means = [table[name][key].mean() for name in names]
    axes.barh(names, means, xerr=[table[name][key].std() for name in names], color=colours(names))


def draw_points(axes: Axes, x: str, y: str, table: Table) -> None:
    """Draw a point per seed."""
    for name, colour in zip(table, colours(list(table)), strict=True):
        axes.scatter(table[name][x], table[name][y], color=colour, s=18)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())


def draw_lines(axes: Axes, key: str, table: Table) -> None:
    """Draw the mean over seeds and a band of its standard deviation."""
    for name, colour in zip(table, colours(list(table)), strict=True):
        curves = pd.concat(seed[["step", key]].dropna() for seed in table[name]["curves"])
        steps = curves.groupby("step")[key]
        mean, std = steps.mean(), steps.std().fillna(0)
        axes.plot(mean.index, mean, color=colour, label=name)
        axes.fill_between(mean.index, mean - std, mean + std, color=colour, alpha=0.15)


def colours(names: list[str]) -> list[Any]:
    """Return a colour for each row, the same in every panel."""
    return [plt.get_cmap("tab10")(ROWS.index(name)) for name in names]


def draw() -> None:
    """Write the picture."""
    table, sections = read_table(), workspace_sections(LETTERS)
    figure, grid = plt.subplots(len(SHOWN), COLUMNS, figsize=(12, 11), layout="constrained")
    for row, name in zip(grid, SHOWN, strict=True):
        row[0].annotate(
            f"{name} ({len(sections[name])} panels)", (0, 1.18), xycoords="axes fraction",
            fontsize=12, fontweight="bold",
        )  # fmt: skip
        for axes, panel in zip(row, sections[name], strict=False):
            axes.set_title(panel.title, fontsize=9)
            axes.tick_params(labelsize=7)
            if name == "Cost":
                draw_points(axes, panel.x.name, panel.y.name, table)
            elif name == "Curves":
                draw_lines(axes, panel.y[0], table)
            else:
                draw_bars(axes, panel.metrics[0], table)
    grid[-1][0].legend(fontsize=7)
    more = [f"{name} ({len(panels)})" for name, panels in sections.items() if name not in SHOWN]
    figure.supxlabel("Further sections: " + ", ".join(more), fontsize=10)
    figure.savefig(ROOT / "docs/images/wandb_workspace.png", dpi=85)


if __name__ == "__main__":
    draw()
