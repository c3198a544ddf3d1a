"""`imss diagnose` with networks whose inside is known, and on a trained run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from torch import Tensor, nn

from benchmark.__main__ import main, parse_words
from benchmark.experiment.request import Request
from benchmark.figures import features
from datamodules.base import SceneDataModule
from tests.support.short_run import train_one_step
from usererror import UserError

NAMES = ["rgb", "dsm", "nir"]


class Known(nn.Module):
    """Shows the images as its maps at stride 1, sigmoid(dsm) as the share of dsm."""

    device = torch.device("cpu")

    def __init__(self, kinds: set[str]) -> None:
        super().__init__()
        self.kinds = kinds

    def diagnostics(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        images = batch["image"]
        share = torch.sigmoid(images["dsm"][:, 0])
        found = {"hard": share, "masked/rgb": share, "fused/1": images["dsm"]}
        for m, image in images.items():
            found[f"features/{m}/1"] = image
            found[f"robustness/{m}/1"] = share if m == "dsm" else (1 - share) / 2
        return {name: values for name, values in found.items() if name.split("/")[0] in self.kinds}


def cell(stores: Path, *kinds: str) -> Any:
    return SimpleNamespace(
        data=SceneDataModule("tiny", str(stores), NAMES, window=32, batch_size=2),
        model=Known(set(kinds)),
        title="known, tiny",
        request=Request("known", "tiny"),
    )


def truth(trained: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Test scenes, read with rasterio alone: id -> (normalised dsm, label)."""
    normalizer = next(layer.normalizer for layer in trained.data.layers if layer.name == "dsm")
    found = {}
    for scene in trained.data.splits["test"]:
        with rasterio.open(scene.paths["dsm"]) as dsm, rasterio.open(scene.paths["label"]) as label:
            pixels = normalizer.standardize(
                normalizer.to_valid(dsm.read().astype(np.float32), scene.id), scene.id
            )[0]
            found[scene.id] = (pixels.astype(np.float64), label.read(1))
    return found


def run(trained: Any, out: Path, monkeypatch: pytest.MonkeyPatch, points: int = 10) -> None:
    monkeypatch.setattr("benchmark.experiment.restore.load_trained_run", lambda *given: trained)
    words = ["diagnose", "--run", str(out), "--out", str(out), "--points", str(points)]
    arguments, command = parse_words(words)
    command.run_command(arguments)


def test_every_pixel_counts_once(
    tiny_stores: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    """Scenes in windows of 32: the last ones overlap, the edge is padded."""
    trained = cell(tiny_stores, "fused", "robustness", "masked", "hard")
    run(trained, tmp_path, monkeypatch)
    scenes = truth(trained)
    values, labels = (
        np.concatenate([pair[i].ravel() for pair in scenes.values()]) for i in range(2)
    )
    table = pd.read_csv(tmp_path / "variance.csv")
    assert table["class"].tolist() == ["ground", "building", "tree"]
    total = values[labels != 255].var()
    for label, row in enumerate(table.itertuples()):
        own = values[labels == label]
        assert row.cells == len(own) and row.stride == row.scale == row.channels == 1
        assert row.raw == pytest.approx(own.var(), rel=1e-5)
        assert row.variance == pytest.approx(own.var() / total, rel=1e-5)
    shares = pd.read_csv(tmp_path / "robustness.csv").set_index("modality")
    per_scene = [(1 / (1 + np.exp(-pixels))).mean() for pixels, _ in scenes.values()]
    assert shares.loc["dsm", "mean"] == pytest.approx(np.mean(per_scene), rel=1e-5)
    assert shares.loc["dsm", "std"] == pytest.approx(np.std(per_scene, ddof=1), rel=1e-4)
    assert shares["mean"].sum() == pytest.approx(1, abs=1e-6) and (shares["scenes"] == 3).all()
    assert (
        "known lacks sampling (draws of single modalities in training)." in capsys.readouterr().out
    )
    for name in (
        "variance",
        "silhouette",
        "tsne",
        "robustness",
        "robustness_three",
        "robustness_five",
    ):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_painted_maps_are_whole_and_in_their_place(tiny_stores: Path) -> None:
    trained = cell(tiny_stores, "robustness")
    inside = features.FeatureCollector(trained.data, 10)
    for scene in trained.data.splits["test"]:
        for view in features.iter_window_features(trained.model, trained.data, scene):
            inside.add_window(scene, view)
    for scene, (pixels, _) in truth(trained).items():
        maps = inside.maps[scene]
        np.testing.assert_allclose(maps[1, "dsm"], 1 / (1 + np.exp(-pixels)), atol=1e-5)
        np.testing.assert_allclose(sum(maps.values()), 1, atol=1e-6)
        assert all(((shares >= 0) & (shares <= 1)).all() for shares in maps.values())


def test_methods_without_a_notion_say_so(
    tiny_stores: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    run(cell(tiny_stores, "features"), tmp_path / "some", monkeypatch)
    assert {path.stem for path in (tmp_path / "some").iterdir()} == {"silhouette", "tsne"}
    assert "known lacks variance (maps after a fusion), robustness" in capsys.readouterr().out
    assert set(pd.read_csv(tmp_path / "some" / "silhouette.csv")["maps"]) == set(NAMES)
    with pytest.raises(UserError, match="known shows nothing"):
        run(cell(tiny_stores, "hard"), tmp_path / "none", monkeypatch)
    with pytest.raises(UserError, match="two points"):
        run(cell(tiny_stores), tmp_path / "none", monkeypatch, points=1)
    assert not (tmp_path / "none").exists()


def test_scenes_that_lack_a_modality_are_left_out(tiny_stores: Path, capsys: Any) -> None:
    trained = cell(tiny_stores)
    scenes = trained.data.splits["test"]
    del scenes[0].paths["nir"]
    assert features.complete_scenes(trained.data, scenes) == scenes[1:]
    assert "1 scenes lack a modality" in capsys.readouterr().out
    with pytest.raises(UserError, match="full set"):
        features.complete_scenes(trained.data, scenes[:1])


def test_a_trained_run(tiny_stores: Path, tmp_path: Path, capsys: Any) -> None:
    trained = train_one_step(tiny_stores, tmp_path / "runs", "sgma")
    assert main(["diagnose", "--run", str(trained), "--scenes", "three", "--points", "5"]) == 0
    tables = {path.stem: pd.read_csv(path) for path in (trained / "diagnostics").glob("*.csv")}
    assert set(tables) == {"variance", "silhouette", "tsne", "robustness", "sampling"}
    strides = tables["variance"].drop_duplicates("scale")
    assert strides["scale"].tolist() == [1, 2, 3, 4] and strides["stride"].tolist() == [
        4,
        8,
        16,
        32,
    ]
    np.testing.assert_allclose(tables["robustness"].groupby("scale")["mean"].sum(), 1, atol=1e-5)
    drawn = tables["sampling"]
    windows = drawn["windows"]
    np.testing.assert_allclose(drawn.groupby("scale")["chance"].sum(), 1, atol=1e-5)
    assert (drawn.groupby("scale")["draws"].sum() == windows.iloc[0]).all()
    # a sum of independent draws varies at most as much as with the mean chance in each
    spread = np.sqrt(windows * drawn["chance"] * (1 - drawn["chance"]))
    assert (abs(drawn["draws"] - windows * drawn["chance"]) < 4 * spread).all()
    assert main(["diagnose", "--run", str(trained), "--scenes", "six"]) == 2
    assert "no test scene; there are: three, four, five" in capsys.readouterr().err
