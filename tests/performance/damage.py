"""`make speed damage`: all severities and sets of damaged sensors, against a pass for each."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from benchmark.profiling.cost import resolve_device, time_interleaved
from tests.performance.device import synchronized
from tests.performance.subsets import SIDE, built

METHODS = ("sgma", "magic", "m3l", "imlt", "mmformer", "gemmnet_ae", "unet_dropout")
LIMIT = 0.45  # of the loop's time, for SGMA with four modalities


def rmm(rounds: int, device: str = "cpu") -> None:
    """Random missing values, three shares, every set of damaged modalities."""
    print(f"  rmm, 3 severities, {SIDE} px, seconds of one window; limit {LIMIT} for sgma with 4")
    for method in METHODS:
        for modalities in (3, 4) if method == "sgma" else (3,):
            once, loop = _timed(method, modalities, rounds, device)
            print(
                f"  {method:14} {modalities} modalities: every image encoded once {once:.3g} s, "
                f"a pass for each case {loop:.3g} s, ratio {once / loop:.2f}",
                flush=True,
            )


def _timed(method: str, modalities: int, rounds: int, device: str) -> tuple[float, float]:
    import torch

    from benchmark.evaluation.damaged import DamageEvaluation
    from benchmark.evaluation.scenario_files import read_scenarios

    model, images = built(method, modalities, 5)
    on = resolve_device(device)
    model.to(on)
    images = {name: image.to(on) for name, image in images.items()}
    [scenario] = read_scenarios(["rmm"])
    described = SimpleNamespace(kind="optical")
    data: Any = SimpleNamespace(
        modalities=dict.fromkeys(images, described), letters={name: name for name in images}
    )
    damaged = {name: image[:, None].repeat(1, 3, 1, 1, 1) for name, image in images.items()}
    batch = {"image": images, "damaged": damaged}
    evaluation, size = DamageEvaluation(scenario), (SIDE, SIDE)

    def encode_once() -> None:
        cases = evaluation.case_entries(model, model.encode(images), batch, data)
        for _, make_entries in cases:
            model.decode(make_entries(), size)

    def encode_each() -> None:
        for _ in evaluation.cases(data):
            model.decode(model.encode(images), size)

    with torch.inference_mode():
        ways = {
            "once": partial(synchronized, encode_once, on),
            "each": partial(synchronized, encode_each, on),
        }
        seconds = time_interleaved(ways, rounds)
    return seconds["once"], seconds["each"]
