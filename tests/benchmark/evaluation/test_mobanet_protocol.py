"""The protocol as MoBaNet reports: windows of 256 px every 32 px, logits summed, six classes
(dossier 3.7, 3.8).
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from benchmark.evaluation.protocol import clip_to_scene
from benchmark.evaluation.subset_confusion import SceneWindows, SubsetConfusion
from datamodules.loading.windows import covering_starts, covering_windows

ROOT = Path(__file__).resolve().parents[3]


def protocol() -> dict:
    return yaml.safe_load((ROOT / "configs" / "protocol" / "mobanet.yaml").read_text())


def test_it_is_the_published_one() -> None:
    data = protocol()["data"]["init_args"]
    assert (data["window"], data["stride"], data["batch_size"], data["clutter"]) == (
        256,
        32,
        12,
        "class",
    )
    assert data["train_label"] == data["score_label"] == "label_eroded"
    assert protocol()["evaluation"]["stitching"] == "logits"


def test_number_of_windows_of_a_potsdam_tile() -> None:
    """188 starts a side as released, of which 181 are distinct; 64 times the windows of stride 256,
    roughly.
    """
    released = [min(start, 6000 - 256) for start in range(0, 6000, 32)]
    assert len(released) == 188
    assert covering_starts(6000, 256, 32) == sorted(set(released)) and len(set(released)) == 181
    assert len(covering_starts(6000, 256, 256)) == 24


@pytest.mark.parametrize(("height", "width"), [(300, 421), (100, 256), (40, 60)])
def test_constant_logits_give_one_class_everywhere(height: int, width: int) -> None:
    windows = covering_windows(height, width, 256, 32)
    scene = SceneWindows(height, width, [clip_to_scene(w, height, width) for w in windows])
    confusion = SubsetConfusion(["R+D"], labels=6, outputs=6, scenes=[scene])
    logits = torch.tensor([0.1, -3.0, 0.3, 0.2999, -1.0, 0.0])[:, None, None].expand(6, 256, 256)
    mask = torch.full((1, 256, 256), 4)
    for place in scene.windows:
        confusion.update({"R+D": logits[None]}, mask, None, [0], [place])
    counts = confusion.compute()[0].sum((0, 1, 2))
    assert counts[4, 2] == height * width == counts.sum()
