"""The strip of a scene that a README shows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmark.commands.inspect_run import Picture
from datamodules.base import SceneDataModule
from tests.support.known_network import KnownNetwork
from usererror import UserError


class Constant(KnownNetwork):
    """Predicts class 1 everywhere."""

    def decode(self, encoded: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        return torch.tensor([0.0, 1.0, 0.5])[None, :, None, None].expand(1, 3, *size)


def test_strip_has_one_row_of_chosen_subsets(
    tiny_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = SceneDataModule("tiny", str(tiny_stores), ["rgb", "dsm", "nir"], window=32)
    run = SimpleNamespace(data=data, model=Constant())
    monkeypatch.setattr("benchmark.experiment.restore.load_trained_run", lambda *given: run)
    out = tmp_path / "strip.png"
    options: dict[str, Any] = {"run": tmp_path, "scene": "", "out": out}
    options |= {"layout": "strip", "trust": False}
    Picture().run_command(SimpleNamespace(**options, subsets=["N+D+R", "R"]))
    width, height = Image.open(out).size
    assert 1600 < width < 1800 and height < width / 3
    with pytest.raises(UserError, match="'X' is no letter of this scene"):
        Picture().run_command(SimpleNamespace(**options, subsets=["R+X"]))
