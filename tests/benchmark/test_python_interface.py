"""`import imss`: what a notebook does, against the commands and other libraries."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from sklearn.metrics import accuracy_score, f1_score, jaccard_score
from torch import Tensor
from torch.utils.data import DataLoader

import imss
from benchmark.__main__ import main
from tests.support.short_run import train_one_step

HOUSE = Path(__file__).parents[2]
LETTERS = {"rgb": "R", "dsm": "D"}


@pytest.fixture(scope="module")
def run(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> imss.TrainedRun:
    runs = tmp_path_factory.mktemp("runs")
    return imss.load_run(str(train_one_step(tiny_stores, runs, "control")))


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read())


def test_images_and_rasters_get_the_same_labels(
    run: imss.TrainedRun, tiny_source: Path, tmp_path: Path
) -> None:
    # a window that is the scene: nothing is blended, nothing mirrored
    files = {name: tiny_source / f"five_{name}.tif" for name in ("rgb", "dsm")}
    one = imss.MapOptions(window=33, stride=33)
    shares = imss.map_rasters(run, files, tmp_path / "map.tif", one, quiet=True)
    found = read(tmp_path / "map.tif")[0]
    images = {name: torch.from_numpy(read(path))[None] for name, path in files.items()}
    logits = imss.predict_images(run, images)
    ids = np.array(run.inputs.outputs)[logits[0].argmax(0).numpy()]
    assert (found == ids).mean() > 0.999
    names = {entry.id: entry.name for entry in run.inputs.classes}
    for number, count in enumerate(np.bincount(ids.ravel())):
        assert shares.get(names[number], 0) == pytest.approx(count / ids.size, abs=2e-3)


def test_images_of_a_batch_do_not_know_of_each_other(
    run: imss.TrainedRun, tiny_source: Path
) -> None:
    heights = read(tiny_source / "five_dsm.tif")
    pair = np.stack([heights, heights + 500])
    both = imss.predict_images(run, {"dsm": pair})
    # heights above each image's own low ground (rule `lowered`): 500 m more change nothing
    torch.testing.assert_close(both[0], both[1], rtol=1e-3, atol=1e-3)
    alone = imss.predict_images(run, {"dsm": pair[:1]})
    torch.testing.assert_close(both[:1], alone)


def test_a_quiet_map_prints_nothing(
    run: imss.TrainedRun,
    tiny_source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # on a terminal, and every time that it could show something
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("benchmark.tracking.progress.ProgressLine.is_due", lambda line: True)
    files = {"rgb": tiny_source / "five_rgb.tif"}
    imss.map_rasters(run, files, tmp_path / "map.tif", quiet=True)
    assert capfd.readouterr() == ("", "")
    imss.map_rasters(run, files, tmp_path / "map.tif")
    told = capfd.readouterr()
    assert "windows of" in told.out and "left" in told.err


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ({}, "at least one of rgb, dsm, nir"),
        ({"lidar": np.zeros((1, 1, 32, 32))}, "not of"),
        ({"dsm": np.zeros((32, 32))}, r"expected \(B, 1, H, W\)"),
        ({"rgb": np.zeros((1, 3, 32, 32)), "dsm": np.zeros((1, 1, 16, 32))}, "alike"),
        ({"dsm": np.full((1, 1, 32, 32), np.nan)}, "no valid pixel"),
    ],
)
def test_images_that_cannot_be_are_one_line(
    images: dict[str, np.ndarray], said: str, run: imss.TrainedRun
) -> None:
    with pytest.raises(imss.UserError, match=said):
        imss.predict_images(run, images)


def test_a_method_trains_with_a_plain_trainer() -> None:
    model = imss.build_model(
        "control", {"rgb": 3, "dsm": 1, "nir": 1}, num_classes=4, backbone="pvt_v2_b0"
    )
    before = {name: value.clone() for name, value in model.named_parameters()}
    draw = torch.Generator().manual_seed(0)
    sample = {
        "image": {m: torch.randn(c, 64, 64, generator=draw) for m, c in model.modalities.items()},
        "mask": torch.randint(0, 4, (64, 64), generator=draw),
    }
    trainer = L.Trainer(
        max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, DataLoader([sample] * 4, batch_size=2))
    assert any(not torch.equal(before[name], value) for name, value in model.named_parameters())


def test_scores_of_any_model_are_those_of_another_library() -> None:
    draw = torch.Generator().manual_seed(1)
    batches = []
    for lacks in ((), ("dsm",)):
        image = {m: torch.randn(2, c, 24, 20, generator=draw) for m, c in (("rgb", 3), ("dsm", 1))}
        mask = torch.randint(0, 3, (2, 24, 20), generator=draw)
        mask[:, :3] = 255
        batches.append({"image": {m: x for m, x in image.items() if m not in lacks}, "mask": mask})

    def model(images: dict[str, Tensor]) -> Tensor:
        total = torch.cat(list(images.values()), 1).sum(1)
        return torch.stack([total, -total, 0.5 - total**2], 1)

    table = imss.score_subsets(model, batches, LETTERS, classes=3)
    assert list(table.index) == ["R", "D", "R+D"]
    assert table["images"].tolist() == [4, 2, 2], "what a batch lacks is not scored on it"
    for name, subset, of in (("R", ["rgb"], batches), ("R+D", ["rgb", "dsm"], batches[:1])):
        labelled = torch.cat([batch["mask"] for batch in of]) != 255
        truth = torch.cat([batch["mask"] for batch in of])[labelled].numpy()
        logits = [model({m: batch["image"][m] for m in subset}) for batch in of]
        taken = torch.cat(logits).argmax(1)[labelled].numpy()
        row = table.loc[name]
        np.testing.assert_allclose(row[[0, 1, 2]], 100 * jaccard_score(truth, taken, average=None))
        assert row["mF1"] == pytest.approx(100 * f1_score(truth, taken, average="macro"))
        assert row["OA"] == pytest.approx(100 * accuracy_score(truth, taken))
    assert imss.average_top1_last1(table["mIoU"]).top1 == table["mIoU"].max()


def test_a_leaderboard_is_the_table_of_the_command(tmp_path: Path) -> None:
    data, out = "vaihingen_miniature", tmp_path / "tables"
    words = ["--data", data, "--runs", str(HOUSE / "results/records"), "--out", str(out)]
    assert main(["leaderboard", *words]) == 0
    board = imss.read_leaderboard(HOUSE / "results/records", data)
    written = pd.read_csv(out / f"{data}.csv")
    assert board["method"].tolist() == written["method"].tolist()
    np.testing.assert_allclose(board["Average"], written["Average"], atol=1e-3)


def test_every_public_name_says_what_it_is_and_is_documented() -> None:
    page = (HOUSE / "docs/python.md").read_text(encoding="utf-8")
    for name in imss.__all__:
        assert getattr(imss, name).__doc__, name
        assert f"imss.{name}" in page
