"""Scoring all subsets never waits for the device: reading one value of it would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from benchmark.evaluation import MissingModalityEvaluation, SubsetConfusion, protocol
from benchmark.evaluation.inference import decode_subset
from benchmark.evaluation.reliability import SubsetReliability
from benchmark.evaluation.subset_confusion import SceneWindows
from benchmark.experiment.models import build_model
from benchmark.metrics.confusion import Convention
from benchmark.metrics.subsets import modality_subsets

SIDE, CHANNELS, CLASSES = 64, {"rgb": 3, "dsm": 1}, 3
# windows one beside another, and windows that overlap
SCENES = [
    SceneWindows(SIDE, 2 * SIDE, [(0, 0, SIDE, SIDE), (0, SIDE, SIDE, SIDE)]),
    SceneWindows(SIDE + 32, SIDE, [(0, 0, SIDE, SIDE), (32, 0, SIDE, SIDE)]),
]


def score(device: str, windows: list[tuple[int, int]], watched: bool = False) -> torch.Tensor:
    """Score windows (scene, window of it) as the callback does; return the counts."""
    data: Any = SimpleNamespace(modalities=CHANNELS, letters={"rgb": "R", "dsm": "D"})
    trainer: Any = SimpleNamespace(
        precision_plugin=SimpleNamespace(val_step_context=nullcontext), datamodule=data
    )
    evaluation = MissingModalityEvaluation()
    evaluation._finite = True
    torch.manual_seed(0)
    with torch.device(device), torch.inference_mode():
        model = build_model("sgma", CHANNELS, CLASSES, backbone="pvt_v2_b0", pretrained=False)
        # blocks, so that where a pixel lies counts as well
        confusion = SubsetConfusion(["R", "D", "R+D"], CLASSES, CLASSES, SCENES, block=40)
        evaluation._confusion = confusion
        if watched:
            convention = Convention((0, 1, 2), (0, 1, 2))
            confusion.watch = SubsetReliability(["R", "D", "R+D"], CLASSES, convention).update
        generator = torch.Generator(device).manual_seed(1) if device != "meta" else None
        images, labels = {}, torch.randint(0, CLASSES, (2, SIDE, SIDE), generator=generator)
        for name, bands in CHANNELS.items():
            images[name] = torch.randn(2, bands, SIDE, SIDE, generator=generator)
        batch = {"mask": labels, "region": torch.zeros_like(labels)}
        batch["scene_number"] = np.array([scene for scene, _ in windows])
        batch["window"] = np.array([SCENES[scene].windows[number] for scene, number in windows])
        model = model.eval()
        known = patch.object(protocol, "datamodule_of", lambda trainer: data)
        strict = nullcontext() if device != "cuda" else errors_where_the_host_waits()
        # kernels are chosen, weights folded and constants copied in the first call
        encoded = model.encode(images)
        for subset in modality_subsets(list(CHANNELS)):
            decode_subset(model, encoded, subset, (SIDE, SIDE))
        with known, strict:
            outputs = {"encoded": model.encode(images)}
            evaluation.on_test_batch_end(trainer, model, outputs, batch, 0)
        return confusion.counts


@contextmanager
def errors_where_the_host_waits() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


WINDOWS = [[(0, 0), (0, 1)], [(1, 0), (1, 1)], [(0, 0), (1, 0)]]


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("windows", WINDOWS)
def test_no_value_is_read_while_subsets_are_scored(
    windows: list[tuple[int, int]], watched: bool
) -> None:
    """The meta device has no values: whoever asks for one gets an error."""
    assert score("meta", windows, watched).device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("windows", WINDOWS)
def test_a_gpu_is_never_waited_for(windows: list[tuple[int, int]], watched: bool) -> None:
    counts = score("cuda", windows, watched)
    places = [SCENES[scene].windows[number] for scene, number in windows]
    if len({scene for scene, _ in windows}) == 1:
        scene = SCENES[windows[0][0]]
        assert len(places) == 2 and counts.sum() == 3 * scene.height * scene.width


@pytest.mark.parametrize(
    "read",
    [
        lambda best: best.max().item(),
        lambda best: best[best > 0],
        lambda best: best.flatten().bincount(),
        lambda best: best.cpu(),
    ],
)
def test_the_check_notices(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    count = SubsetConfusion._count

    def reads(self: Any, subset: int, first: Any, best: Any) -> None:
        read(best)
        count(self, subset, first, best)

    monkeypatch.setattr(SubsetConfusion, "_count", reads)
    with pytest.raises((NotImplementedError, RuntimeError), match=r"[Mm]eta"):
        score("meta", WINDOWS[0])
