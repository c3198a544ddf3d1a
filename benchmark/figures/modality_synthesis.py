"""Missing modalities as a method synthesises them, beside the true ones, with L1, PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics.functional import image as image_scores
from torchmetrics.functional import mean_absolute_error

from benchmark.evaluation.inference import images_for, iter_windows, present_modalities
from benchmark.evaluation.row_buffer import WindowStitcher
from benchmark.figures.picture_grid import AS_IT_IS, picture_grid, save_figure
from benchmark.metrics.subsets import modality_subsets, subset_name
from methods.parts.diagnostics import SynthesisesModalities

if TYPE_CHECKING:
    from datamodules.base import SceneDataModule
    from datamodules.store.scene_store import Scene
    from methods.base import AnyModalitySegmenter

SCORES = "scores.csv"
FIELDS = ("scene", "missing", "from", "l1", "psnr_db", "ssim")
STRETCH = 2.0  # standard deviations about the mean that a panel spans, from black to white
SSIM_WINDOW = 11


@dataclass(frozen=True)
class SynthesisedModality:
    """A missing modality of one scene, made from one subset of the others."""

    missing: str
    source: tuple[str, ...]
    true: Tensor  # z-scores (C, H, W), clamped to +-`reach`, which no synthesised value exceeds
    made: Tensor
    reach: float

    @property
    def l1(self) -> float:
        """Mean absolute difference in standard deviations of the training pixels."""
        return float(mean_absolute_error(self.made, self.true))

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in dB for a signal between -`reach` and `reach`."""
        span = 2 * self.reach
        return float(image_scores.peak_signal_noise_ratio(self.made, self.true, data_range=span))

    @property
    def ssim(self) -> float:
        """Structural similarity for the same range; nan for scenes smaller than its window."""
        # its borders are cut off, which leaves nothing of a smaller scene
        if min(self.true.shape[-2:]) < SSIM_WINDOW:
            return float("nan")
        score = image_scores.structural_similarity_index_measure
        span, pair = 2 * self.reach, (self.made[None], self.true[None])
        similarity: Any = score(*pair, data_range=span, kernel_size=SSIM_WINDOW)
        return float(similarity)


def synthesise_scene(
    model: AnyModalitySegmenter, data: SceneDataModule, scene: Scene
) -> list[SynthesisedModality]:
    """Synthesise every modality of a scene from every subset of its others.

    Where windows overlap, their mean is taken. The network gets the subset's entries alone: pixels
    of the missing modality cannot reach it. Empty for a method that synthesises nothing.
    """
    if not isinstance(model, SynthesisesModalities):
        return []
    # true values beyond the reach could not be met by any network, so they are clamped
    names, reach = present_modalities(data, scene), model.synthesis_reach
    even = torch.ones(data.window, data.window, dtype=torch.float64)
    stitcher = partial(WindowStitcher, width=scene.width, weights=even, dtype=torch.float64)
    true = {name: stitcher((data.channels[name],)) for name in names}
    made: dict[tuple[str, tuple[str, ...]], WindowStitcher] = {}
    with torch.inference_mode():
        for batch, place in iter_windows(data, scene):
            for name in names:
                true[name].add(place, batch["image"][name][0].clamp(-reach, reach))
            encoded = model.encode(images_for(model, batch))
            # the last one is the full set, from which nothing is missing
            for subset in modality_subsets(names)[:-1]:
                given = {name: encoded[name] for name in subset}
                pictures = model.synthesise(given, batch["mask"].shape[-2:])
                for name, picture in pictures.items():
                    key = name, subset
                    if key not in made:
                        made[key] = stitcher((data.channels[name],))
                    made[key].add(place, picture[0].cpu())
        whole = {name: rows.pop_rows(scene.height) for name, rows in true.items()}
        found = []
        for (name, source), rows in made.items():
            picture = rows.pop_rows(scene.height)
            found.append(SynthesisedModality(name, source, whole[name], picture, reach))
    return sorted(found, key=lambda entry: names.index(entry.missing))


def draw_synthesis(
    data: SceneDataModule,
    scene: Scene,
    synthesised: Sequence[SynthesisedModality],
    title: str,
    out: Path,
) -> None:
    """Write a PNG: a row per missing modality, the true picture first, then one per source."""
    rows: dict[str, list[SynthesisedModality]] = {}
    for entry in synthesised:
        rows.setdefault(entry.missing, []).append(entry)
    columns = 1 + max(map(len, rows.values()))
    figure, axes = picture_grid(len(rows), columns, (2.4 * columns, 2.75 * len(rows)))
    for axis in axes.flat:
        axis.axis("off")
    for line, (name, entries) in zip(axes, rows.items(), strict=True):
        panels = [(f"{data.letters[name]}  {name}, true", entries[0].true)]
        for entry in entries:
            scores = f"L1 {entry.l1:.2f}, PSNR {entry.psnr:.1f} dB, SSIM {entry.ssim:.2f}"
            source = subset_name(entry.source, data.letters)
            panels.append((f"from {source}\n{scores}", entry.made))
        for axis, (text, picture) in zip(line, panels, strict=False):
            axis.imshow(stretch(picture).numpy(), **AS_IT_IS)
            axis.set_title(text, fontsize=7)
    save_figure(figure, f"{title}, scene {scene.id}", out)


def stretch(picture: Tensor) -> Tensor:
    """Map z-scores `(C, H, W)` to [0, 1], `(H, W, 3)` of three bands or more, else `(H, W)`.

    Example:
        >>> stretch(torch.tensor([[[-2.0, 0.0, 5.0]]])).tolist()
        [[0.0, 0.5, 1.0]]
    """
    # one stretch for true and synthesised, or the eye would compare two scales
    stretched = ((picture + STRETCH) / (2 * STRETCH)).clamp(0, 1)
    return stretched[:3].movedim(0, -1) if len(stretched) >= 3 else stretched[0]
