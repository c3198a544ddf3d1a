"""Painted modalities against painters whose error is known."""

from __future__ import annotations

import csv
from dataclasses import replace
from math import inf, log10
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from torch import Tensor, nn

from benchmark.__main__ import main
from benchmark.commands.inspect_run import Synthesised
from benchmark.evaluation.inference import crop_top_left
from benchmark.experiment.request import Request
from benchmark.figures.modality_synthesis import (
    SCORES,
    SynthesisedModality,
    stretch,
    synthesise_scene,
)
from benchmark.metrics.subsets import modality_subsets
from datamodules.base import SceneDataModule
from tests.support.short_run import train_one_step
from usererror import UserError

REACH = 3.0
NAMES = ["rgb", "dsm", "nir"]


class Painter(nn.Module):
    """Paints the true picture, clamped, plus an error; records what it was given."""

    synthesis_reach = REACH

    def __init__(self, error: float) -> None:
        super().__init__()
        self.error, self.given = error, set[tuple[str, ...]]()

    def encode(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        self.true = images
        return images

    def synthesise(self, encoded: dict[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        self.given.add(tuple(encoded))
        missing = set(self.true) - set(encoded)
        return {name: self.true[name].clamp(-REACH, REACH) + self.error for name in missing}


def cell(stores: Path, error: float) -> Any:
    data = SceneDataModule("tiny", str(stores), NAMES, window=32, batch_size=2)
    request = Request("x", "tiny")
    return SimpleNamespace(data=data, model=Painter(error), title="x, tiny", request=request)


@pytest.mark.parametrize(
    ("error", "psnr"), [(0.0, inf), (0.5, 20 * log10(2 * REACH / 0.5)), (-2.0, 20 * log10(3.0))]
)
def test_scores_of_a_constant_error(tiny_stores: Path, error: float, psnr: float) -> None:
    trained = cell(tiny_stores, error)
    scene = trained.data.splits["test"][0]
    paintings = synthesise_scene(trained.model, trained.data, crop_top_left(scene))
    # each of three modalities from three subsets of the other two
    assert {(p.missing, p.source) for p in paintings} == {
        (m, s) for m in NAMES for s in modality_subsets(NAMES) if m not in s
    }
    assert len(paintings) == 9 and trained.model.given == set(modality_subsets(NAMES)) - {
        tuple(NAMES)
    }
    for painting in paintings:
        assert (
            painting.true.shape
            == painting.made.shape
            == (3 if painting.missing == "rgb" else 1, 75, 61)
        )
        assert painting.l1 == pytest.approx(abs(error), abs=1e-6)
        assert painting.psnr == pytest.approx(psnr) if error else painting.psnr > 120


def test_true_pictures_are_the_scene_at_its_own_place(tiny_stores: Path) -> None:
    trained = cell(tiny_stores, 0.0)
    scene = trained.data.splits["test"][0]
    true = {p.missing: p.true for p in synthesise_scene(trained.model, trained.data, scene)}
    layers = {layer.name: layer for layer in trained.data.layers}
    for name in NAMES:
        with rasterio.open(scene.paths[name]) as file:
            pixels = file.read().astype(np.float32)
        normalizer = layers[name].normalizer
        expected = normalizer.standardize(normalizer.to_valid(pixels, scene.id), scene.id).clip(
            -REACH, REACH
        )
        np.testing.assert_allclose(true[name], expected, atol=1e-5)


def test_scores_are_those_of_the_formulas() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(3, 40, 30, generator=generator, dtype=torch.float64).clamp(-REACH, REACH)
    made = (true + 0.3 * torch.randn(true.shape, generator=generator)).clamp(-REACH, REACH)
    entry = SynthesisedModality("rgb", ("dsm",), true, made, REACH)
    error = (true - made).numpy()
    assert entry.l1 == pytest.approx(np.abs(error).mean(), rel=1e-6)
    psnr = 10 * log10((2 * REACH) ** 2 / np.square(error).mean())
    assert entry.psnr == pytest.approx(psnr, rel=1e-6)
    assert 0.5 < entry.ssim < 0.999
    assert replace(entry, made=true).psnr == inf
    assert replace(entry, made=true).ssim == pytest.approx(1)
    small = replace(entry, true=true[:, :5], made=made[:, :5])
    assert np.isnan(small.ssim) and small.psnr > 0


def test_one_stretch_for_true_and_painted() -> None:
    flat = torch.tensor([[[-2.0, 0.0, 2.0, 5.0]]])
    np.testing.assert_allclose(stretch(flat), [[0.0, 0.5, 1.0, 1.0]])
    assert stretch(torch.zeros(5, 2, 4)).shape == (2, 4, 3)


def test_pictures_and_table_of_a_trained_run(
    tiny_stores: Path, tmp_path: Path, capsys: Any
) -> None:
    run = train_one_step(tiny_stores, tmp_path / "runs", "ae")
    assert main(["synthesised", "--run", str(run), "--scenes", "four"]) == 0
    assert (run / "synthesised" / "four.png").read_bytes().startswith(b"\x89PNG")
    with (run / "synthesised" / SCORES).open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["missing"], row["from"]) for row in rows} >= {
        ("dsm", "R"),
        ("rgb", "D+N"),
    } and len(rows) == 9
    assert all(0 < float(row["l1"]) < 2 * REACH for row in rows)
    assert main(["synthesised", "--run", str(run), "--scenes", "six"]) == 2
    assert "no test scene; there are: three, four, five" in capsys.readouterr().err


def test_ids_that_are_paths_become_names(
    tiny_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = cell(tiny_stores, 0.0)
    scene = replace(trained.data.splits["test"][0], id="night/test/0001")
    monkeypatch.setattr("benchmark.experiment.restore.load_trained_run", lambda *given: trained)
    name = "benchmark.evaluation.inference.select_test_scenes"
    monkeypatch.setattr(name, lambda data, ids: [scene])
    Synthesised().run_command(SimpleNamespace(run=tmp_path, trust=False, scenes=[], out=None))
    assert {path.name for path in (tmp_path / "synthesised").iterdir()} == {
        "night_test_0001.png",
        SCORES,
    }


def test_methods_that_paint_nothing_say_so(
    tiny_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = cell(tiny_stores, 0.0)
    monkeypatch.setattr(trained.model, "synthesise", lambda encoded, size: {})
    monkeypatch.setattr("benchmark.experiment.restore.load_trained_run", lambda *given: trained)
    with pytest.raises(UserError, match="x paints no missing modality"):
        Synthesised().run_command(SimpleNamespace(run=tmp_path, trust=False, scenes=[], out=None))
    assert not (tmp_path / "synthesised").exists()
