"""Reliability diagrams: accuracy over confidence, one for each subset."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from benchmark.figures.picture_grid import picture_grid, save_figure
from benchmark.metrics.reliability import (
    BINS,
    ReliabilityCounts,
    ReliabilityScores,
    bin_means,
    reliability_scores,
)

MOST_COLUMNS = 4


def draw_reliability(counts: ReliabilityCounts, title: str, path: Path) -> None:
    """Write a PNG with the diagram of every subset that was scored (Guo et al. 2017, figure 1)."""
    scores = reliability_scores(counts)
    scored = np.flatnonzero(counts.pixels.sum(1))
    columns = min(MOST_COLUMNS, len(scored))
    rows = math.ceil(len(scored) / columns)
    figure, grid = picture_grid(rows, columns, (2.8 * columns, 2.9 * rows + 0.5))
    places = grid.ravel()
    for axes, number in zip(places, scored, strict=False):
        _draw_subset(axes, counts, scores, int(number))
    for axes in places[len(scored) :]:
        axes.set_axis_off()
    grid[0, 0].legend(fontsize=7, loc="upper left", frameon=False)
    figure.supxlabel("confidence", fontsize=9)
    figure.supylabel("accuracy of a bin, share of pixels in it", fontsize=9)
    save_figure(figure, title, path)


def _draw_subset(
    axes: Axes, counts: ReliabilityCounts, scores: ReliabilityScores, number: int
) -> None:
    """Draw accuracy against mean confidence per bin, above the share of pixels in each."""
    accuracy, confidence = bin_means(counts)
    share = counts.pixels[number] / counts.pixels[number].sum()
    edges = np.arange(BINS) / BINS
    axes.bar(edges, share, 1 / BINS, align="edge", color="0.85", label="share of pixels")
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=0.8, linestyle="--")
    there = counts.pixels[number] > 0
    # below the diagonal: surer than it is right
    axes.plot(
        confidence[number, there],
        accuracy[number, there],
        color="#1f6f8b",
        marker="o",
        markersize=3,
        linewidth=1,
        # a point at 1 is shown whole
        clip_on=False,
        label="accuracy",
    )
    ece, brier = scores.ece[number], scores.brier[number]
    text = f"{counts.subsets[number]}: ECE {100 * ece:.1f} %, Brier {brier:.3f}"
    axes.set_title(text, fontsize=8)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.tick_params(labelsize=7)
