"""`make speed`, the parts about evaluation: what all subsets cost, against one pass over the full
set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.metrics.subsets import modality_subsets
from benchmark.profiling.cost import time_interleaved

if TYPE_CHECKING:
    import torch

    from benchmark.evaluation.subset_confusion import SubsetConfusion
    from methods.base import AnyModalitySegmenter

Encoded = Mapping[str, Any]
SIDE = 512


def sgma(rounds: int) -> None:
    """SGMA: all subsets against one full pass and against the loop over subsets; the metric
    update's share.
    """
    for modalities, classes, limit in ((3, 5, 1.5), (4, 25, 2.5)):
        model, images = built("sgma", modalities, classes)
        seconds = _timed(
            model, images, classes, rounds, ("full pass", "all subsets", "loop", "metric update")
        )
        full, every = seconds["full pass"], seconds["all subsets"]
        print(
            f"  {modalities} modalities, {classes} classes, {2**modalities - 1} subsets, "
            f"PVT-v2-b2, {SIDE} px: "
            f"full pass {full:.2f} s; all subsets cost {every / full:.2f} full passes "
            f"(limit {limit}; GMAC ratio {_gmac_ratio(model, images):.2f}); "
            f"the loop costs {seconds['loop'] / every:.2f} times as much; "
            f"argmax and counting {100 * seconds['metric update'] / every:.2f} % of evaluation "
            f"(limit 5 %)"
        )


def methods(rounds: int) -> None:
    """Every shipped method and variant: all 7 subsets of 3 modalities against one full pass."""
    from benchmark.choices import methods as shipped

    print(
        f"  3 modalities, 5 classes, 7 subsets, {SIDE} px; limit 1.7 full passes where subsets can "
        f"share work"
    )
    for name in shipped():
        model, images = built(name, 3, 5)
        seconds = _timed(model, images, 5, rounds, ("full pass", "all subsets"))
        full, every = seconds["full pass"], seconds["all subsets"]
        backbone = model.hparams.get("backbone", "own encoder")
        print(
            f"  {name:20} {backbone:12} full pass {full:.2f} s; all subsets cost "
            f"{every / full:.2f} full passes "
            f"(GMAC ratio {_gmac_ratio(model, images):.2f})",
            flush=True,
        )


def built(
    method: str, modalities: int, classes: int
) -> tuple[AnyModalitySegmenter, dict[str, torch.Tensor]]:
    """Build a method at the published scale, and a window of random images for it."""
    import torch

    from benchmark.experiment.models import build_model

    names = [f"m{number}" for number in range(modalities)]
    model = build_model(method, dict.fromkeys(names, 3), classes).eval()
    return model, {name: torch.randn(1, 3, SIDE, SIDE) for name in names}


def _timed(
    model: AnyModalitySegmenter,
    images: Mapping[str, torch.Tensor],
    classes: int,
    rounds: int,
    chosen: Sequence[str],
) -> dict[str, float]:
    """Seconds of the chosen ways to score one window."""
    import torch

    from benchmark.evaluation.subset_confusion import SceneWindows, SubsetConfusion

    mask = torch.randint(0, classes, (1, SIDE, SIDE))
    everything = modality_subsets(list(images))

    logits, place = torch.randn(1, classes, SIDE, SIDE), (0, 0, SIDE, SIDE)

    def counter(subsets: Sequence[tuple[str, ...]]) -> SubsetConfusion:
        names = ["+".join(subset) for subset in subsets]
        return SubsetConfusion(names, classes, classes, [SceneWindows(SIDE, SIDE, [place])])

    def scored(encoded: Encoded, subsets: Sequence[tuple[str, ...]]) -> None:
        logits = (
            ("+".join(subset), model.decode({name: encoded[name] for name in subset}, (SIDE, SIDE)))
            for subset in subsets
        )
        counter(subsets).update(logits, mask, None, [0], [place])

    def loop() -> None:
        for subset in everything:
            scored(model.encode({name: images[name] for name in subset}), [subset])

    def update() -> None:
        names = ["+".join(subset) for subset in everything]
        counter(everything).update(dict.fromkeys(names, logits), mask, None, [0], [place])

    ways = {
        "full pass": lambda: scored(model.encode(images), everything[-1:]),
        "all subsets": lambda: scored(model.encode(images), everything),
        "loop": loop,
        "metric update": update,
    }
    with torch.inference_mode():
        return time_interleaved({name: ways[name] for name in chosen}, rounds)


def _gmac_ratio(model: AnyModalitySegmenter, images: Mapping[str, torch.Tensor]) -> float:
    from benchmark.profiling.complexity import count_gmac

    everything = modality_subsets(list(images))

    def evaluate(chosen: Sequence[Sequence[str]]) -> None:
        encoded = model.encode(images)
        for subset in chosen:
            model.decode({name: encoded[name] for name in subset}, (SIDE, SIDE))

    return count_gmac(lambda: evaluate(everything)) / count_gmac(lambda: evaluate(everything[-1:]))
