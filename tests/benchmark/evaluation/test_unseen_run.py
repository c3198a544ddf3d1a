"""A whole run of a network that sees one of three sensors: what it is scored, shown and asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard

from benchmark.__main__ import main
from benchmark.experiment.restore import load_trained_run
from benchmark.export.onnx_graph import parse_subsets
from benchmark.records.record import read_record, read_scenes
from benchmark.weights.card import MEASURES, model_card
from imss import predict_images
from tests.benchmark.experiment.test_bench import bench, only_run
from usererror import UserError

METHOD = "unetformer_optical"
SEEN, UNSEEN = ["R", "R+D", "R+N", "R+D+N"], ["D", "N", "D+N"]
pytestmark = pytest.mark.usefixtures("no_published_records")


@pytest.fixture(scope="module")
def run_dir(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's directory."""
    runs = tmp_path_factory.mktemp("work") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.records.selection.PUBLISHED", runs / "none")
        assert bench(tiny_stores, runs, "--trainer.max_steps", "4", method=METHOD) == 0
    return only_run(runs)


def test_what_is_not_seen_is_not_counted_and_what_is_ignored_changes_nothing(run_dir: Path) -> None:
    record = read_record(run_dir / "record")
    assert record.manifest.revision == 2
    counts = dict(zip(record.subsets, record.counts, strict=True))
    scenes = dict(zip(record.subsets, record.scored[:, 0].tolist(), strict=True))
    assert {name for name, own in counts.items() if own.any()} == set(SEEN)
    assert [scenes[name] for name in UNSEEN] == [0] * 3 and {scenes[name] for name in SEEN} == {3}
    # D and N are ignored beside R
    assert all(np.array_equal(counts[name], counts["R"]) for name in SEEN)
    for blocks in read_scenes(record).values():
        assert not blocks[[record.subsets.index(name) for name in UNSEEN]].any()


def test_validation_chooses_by_what_is_seen(run_dir: Path) -> None:
    logged = pd.read_csv(run_dir / "logs" / "version_0" / "metrics.csv")
    scores = logged.dropna(subset=["val/miou/R"])
    assert len(scores) and scores["val/average_miou"].notna().all()
    seen = scores[[f"val/miou/{name}" for name in SEEN]].mean(axis=1)
    np.testing.assert_allclose(scores["val/average_miou"], seen, atol=1e-6)
    assert scores[[f"val/miou/{name}" for name in UNSEEN]].isna().all(axis=None)
    assert (run_dir / "checkpoints" / "best.ckpt").is_file()


def test_the_leaderboard_and_the_terminal_show_dashes(
    run_dir: Path, tiny_stores: Path, capsys: pytest.CaptureFixture
) -> None:
    table = pd.read_csv(run_dir.parents[3] / "leaderboards" / "tiny.csv")
    row: Any = table.to_dict("records")[0]
    empty = {
        name
        for name in row
        if name.startswith("mIoU ") and "std" not in name and pd.isna(row[name])
    }
    assert empty == {f"mIoU {name}" for name in UNSEEN}
    assert pd.isna([row["Average"], row["Top-1"], row["Last-1"]]).all()
    checkpoint = run_dir / "checkpoints" / "best.ckpt"
    words = ["evaluate", "--checkpoint", str(checkpoint), "--store", str(tiny_stores)]
    assert main(words) == 0
    said = capsys.readouterr().out
    lines = {line.split()[0]: line.split()[1:] for line in said.splitlines() if " mIoU " in line}
    assert lines["D+N"] == ["mIoU", "-", "mF1", "-", "OA", "-"] and "-" not in lines["R+D"]
    assert "average -  top1 -  last1 -" in said and "nan" not in said


def test_pictures_and_what_is_counted_afterwards(
    run_dir: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["examples", "--run", str(run_dir)]) == 0
    index = json.loads((run_dir / "examples" / "index.json").read_text())
    assert all(sorted(scene["subsets"]) == sorted(SEEN) for scene in index["scenes"])
    assert main(["picture", "--run", str(run_dir)]) == 0
    assert main(["picture", "--run", str(run_dir), "--layout", "strip"]) == 0
    assert main(["picture", "--run", str(run_dir), "--layout", "strip", "--subsets", "R,D"]) == 2
    assert "This network sees nothing of dsm, only rgb" in capsys.readouterr().err
    assert main(["reliability", "--run", str(run_dir)]) == 0
    assert main(["robustness", "--run", str(run_dir), "--scenario", "zero_normalised"]) == 0


def test_maps_and_graphs_of_what_is_not_seen_are_refused(
    run_dir: Path, tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    files = {name: f"{name}={tiny_source / f'four_{name}.tif'}" for name in ("rgb", "dsm", "nir")}
    words = ["predict", "--run", str(run_dir), "--out", str(tmp_path / "map.tif"), "--input"]
    assert main([*words, files["dsm"], files["nir"]]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "This network sees nothing of dsm, nir, only rgb: give it that" in line
    assert not list(tmp_path.iterdir())
    assert main([*words, files["dsm"], files["rgb"]]) == 0
    trained = load_trained_run(run_dir)
    with pytest.raises(UserError, match="sees nothing of dsm"):
        predict_images(trained, {"dsm": np.ones((1, 1, 32, 32), np.float32)})
    assert len(parse_subsets("all", trained)) == len(SEEN)
    with pytest.raises(UserError, match="sees nothing of nir, only rgb"):
        parse_subsets("R,N", trained)


def test_a_model_card_has_dashes_and_no_result_for_a_hub(run_dir: Path) -> None:
    trained, record = load_trained_run(run_dir), read_record(run_dir / "record")
    text = model_card(trained, record, {}, "cc-by-4.0")
    lines = {
        line.split("|")[1].strip(): line.split("|")[2:5]
        for line in text.splitlines()
        if line[:1] == "|"
    }
    for name in [*UNSEEN, "**Average**", "**Top-1**", "**Last-1**"]:
        assert [cell.strip() for cell in lines[name]] == ["-"] * 3, name
    data: Any = ModelCard(text).data
    found = {one.metric_name for one in data.eval_results}
    assert found == {f"{measure}, {name}" for measure in MEASURES for name in SEEN}


def test_a_protocol_of_what_is_not_seen_is_refused_before_training(
    tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["--trainer.max_steps", "4", "--evaluation.subsets", "[D, N+D]"]
    assert bench(tiny_stores, tmp_path / "runs", *words, method=METHOD) == 2
    shown = capsys.readouterr()
    assert "The network sees none of D, D+N: no score there, and no Average." in shown.out
    said = shown.err
    assert "This protocol scores D, D+N, but the network sees rgb alone: choose another" in said
    assert not list((tmp_path / "runs").rglob("*.ckpt"))
