"""`imss synthesised`: what a method paints of missing modalities, beside the true pictures, with L1 and PSNR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmark.evaluation.inference import iter_windows, present_modalities
from benchmark.metrics.subsets import modality_subsets, subset_name

if TYPE_CHECKING:
    from datamodules.base import SceneDataModule
    from datamodules.store.scene_store import Scene
    from methods.base import AnyModalitySegmenter

SCORES = "scores.csv"
FIELDS = ("scene", "missing", "from", "l1", "psnr_db")
SHOWN = 2.0  # standard deviations about the mean that a panel spans, from black to white
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SynthesisedModality:
    """A missing modality of one scene, painted from one subset of the others.

    `true` and `painted` are z-scores C x H x W; the true ones are clamped to +-`reach`, which no picture exceeds.
    """

    missing: str
    source: tuple[str, ...]
    true: Array
    painted: Array
    reach: float

    @property
    def l1(self) -> float:
        """Mean absolute difference in standard deviations of the training pixels."""
        return float(np.abs(self.true - self.painted).mean())

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in dB for a signal between -`reach` and `reach`; infinite for equal pictures."""
        error = float(np.square(self.true - self.painted).mean())
        return 10 * log10((2 * self.reach) ** 2 / error) if error else inf


def synthesise_scene(
    model: AnyModalitySegmenter, data: SceneDataModule, scene: Scene
) -> list[SynthesisedModality]:
    """Every modality of a scene, painted from every subset of its others; where windows overlap, their mean.

    The network gets the subset's entries alone: pixels of the missing modality cannot reach it.
    """
    import torch

    names = present_modalities(data, scene)
    reach = model.synthesis_reach
    shape = (scene.height, scene.width)
    covered = np.zeros(shape)
    true: dict[str, Array] = {}
    sums: dict[tuple[str, tuple[str, ...]], Array] = {}

    def add(
        store: dict[Any, Array], key: Any, picture: torch.Tensor, here: tuple[slice, slice]
    ) -> None:
        rows, cols = (part.stop - part.start for part in here)
        total = store.setdefault(key, np.zeros((len(picture), *shape)))
        total[(slice(None), *here)] += picture[:, :rows, :cols].numpy()

    with torch.inference_mode():
        for batch, here in iter_windows(data, scene):
            covered[here] += 1
            for name in names:
                add(true, name, batch["image"][name][0].clamp(-reach, reach), here)
            encoded = model.encode(batch["image"])
            for subset in modality_subsets(names)[:-1]:
                given = {name: encoded[name] for name in subset}
                painted = model.synthesise(given, batch["mask"].shape[-2:])
                for name in (name for name in names if name in painted):
                    add(sums, (name, subset), painted[name][0], here)
    return [
        SynthesisedModality(name, subset, true[name] / covered, total / covered, reach)
        for (name, subset), total in sorted(
            sums.items(), key=lambda entry: names.index(entry[0][0])
        )
    ]


def draw_synthesis(
    data: SceneDataModule,
    scene: Scene,
    paintings: Sequence[SynthesisedModality],
    title: str,
    out: Path,
) -> None:
    """Write the PNG: a row per missing modality, the true picture first, then one per subset it is painted from."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = {
        name: [entry for entry in paintings if entry.missing == name] for name in data.modalities
    }
    rows = {name: entries for name, entries in rows.items() if entries}
    columns = 1 + max(len(entries) for entries in rows.values())
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(2.4 * columns, 2.75 * len(rows)), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for line, (name, entries) in zip(axes, rows.items(), strict=True):
        panels = [(f"{data.letters[name]}  {name}, true", entries[0].true)]
        panels += [
            (
                f"from {subset_name(entry.source, data.letters)}\nL1 {entry.l1:.2f}, PSNR {entry.psnr:.1f} dB",
                entry.painted,
            )
            for entry in entries
        ]
        for axis, (title, picture) in zip(line, panels, strict=False):
            axis.imshow(shown(picture), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_title(title, fontsize=8)
    figure.suptitle(f"{title}, scene {scene.id}", fontsize=10)
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    plt.close(figure)


def shown(picture: Array) -> Array:
    """z-scores C x H x W -> H x W x 3 (three bands or more) or H x W in [0, 1], one stretch for true and painted."""
    stretched = ((picture + SHOWN) / (2 * SHOWN)).clip(0, 1)
    return stretched[:3].transpose(1, 2, 0) if len(stretched) >= 3 else stretched[0]
