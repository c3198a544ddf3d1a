"""The block of data behind the page against records, brute force and files that are damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.__main__ import main
from benchmark.analysis.bootstrap import draw_weights
from benchmark.records.record import read_record, read_scenes
from benchmark.records.selection import Skipped
from benchmark.report.gallery import limit_galleries
from benchmark.report.page import embedded_json
from benchmark.report.payload import build_payload
from tests.support.toy_records import LABELS, score, toy_record, toy_result
from tests.support.toy_report import CURVE, METHODS, toy_runs

SAMPLES = 150


@pytest.fixture(autouse=True)
def nothing_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.records.selection.PUBLISHED", tmp_path / "no published records")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_runs(tmp_path_factory.mktemp("report"))


@pytest.fixture
def board(runs: Path) -> dict[str, Any]:
    content = build_payload(runs, "", SAMPLES, runs.parent / "complexity")
    assert content["remarks"] == [] and [entry["name"] for entry in content["datasets"]] == ["toy"]
    (only,) = content["datasets"][0]["boards"]
    return only


def row_of(board: dict[str, Any], method: str) -> dict[str, Any]:
    return next(row for row in board["rows"] if row["method"] == method)


def test_scores_are_those_of_the_counts(board: dict[str, Any], runs: Path) -> None:
    assert board["conditions"] == ["all", "weather=night", "weather=sun"]
    for method, seeds in METHODS.items():
        row = row_of(board, method)
        assert row["seeds"] == list(seeds)
        for s, seed in enumerate(seeds):
            record = read_record(runs / method / str(seed) / "record")
            for c, condition in enumerate(board["conditions"]):
                for u in range(len(board["subsets"])):
                    matrix = record.counts[u, record.conditions.index(condition)].sum(0)
                    scored = matrix[:3]  # clutter is ignored
                    hits, truth, taken = np.diag(scored), scored.sum(1), scored.sum(0)
                    iou = 100 * hits / (truth + taken - hits)
                    assert row["iou"][s][c][u] == pytest.approx(iou, abs=1e-3)
                    assert row["miou"][s][c][u] == pytest.approx(iou.mean(), abs=1e-3)
                    assert row["oa"][s][c][u] == pytest.approx(
                        100 * hits.sum() / truth.sum(), abs=1e-3
                    )
                    assert row["mf1"][s][c][u] == pytest.approx(
                        (200 * hits / (truth + taken)).mean(), abs=1e-3
                    )
                    if condition == "all":
                        assert row["counts"][s][u] == matrix.tolist()
    assert (
        row_of(board, "alpha")["scored"][0] == [12] * 7
        and row_of(board, "alpha")["scored"][2] == [4] * 7
    )


def test_summaries_and_order(board: dict[str, Any]) -> None:
    averages, headings = [], [column["title"] for column in board["columns"]]
    for row in board["rows"]:
        by_seed = np.array(row["miou"])[:, 0]
        for name, values in {
            "Average": by_seed.mean(1),
            "Top-1": by_seed.max(1),
            "Last-1": by_seed.min(1),
        }.items():
            assert row["summary"][name][0] == pytest.approx(values.mean(), abs=1e-3)
            spread = values.std(ddof=1) if len(values) > 1 else None
            assert row["summary"][name][1] == (
                spread if spread is None else pytest.approx(spread, abs=1e-3)
            )
        best = row["cells"][headings.index("Top-1")]["parts"][-1]
        assert best == board["subsets"][by_seed.mean(0).argmax()]
        averages.append(row["summary"]["Average"][0])
    assert averages == sorted(averages, reverse=True)


def test_intervals_are_percentiles_of_resampled_scenes(board: dict[str, Any], runs: Path) -> None:
    weights = draw_weights(12, SAMPLES, 0)
    averages = []
    for seed in METHODS["alpha"]:
        record = read_record(runs / "alpha" / str(seed) / "record")
        scenes = [
            entry.sum((1, 2)).astype(np.int64) for entry in read_scenes(record).values()
        ]  # subsets x labels x outputs
        drawn = [
            sum(int(times) * scene for times, scene in zip(line, scenes, strict=True))
            for line in weights
        ]
        averages.append(
            [
                np.mean([100 * score(m, record.convention).miou for m in matrices])
                for matrices in drawn
            ]
        )
    low, high = np.percentile(np.mean(averages, 0), [2.5, 97.5])
    assert board["intervals"]["rows"]["alpha-group"]["Average"] == pytest.approx(
        [low, high], abs=0.006
    )
    assert (
        len(board["intervals"]["pairs"]) == 3 * 3
        and "12 test scenes, 150 draws" in board["intervals"]["how"]
    )


def test_worth_by_brute_force(board: dict[str, Any]) -> None:
    sensors, row = board["sensor_values"], row_of(board, "beta")
    assert sensors["letters"] == ["R", "D", "N"] and sensors["classes"] == ["mIoU", *LABELS[:3]]
    worth = sensors["rows"]["beta-group"]
    for part in range(4):
        by_seed = (
            np.array(row["miou"])[:, 0] if part == 0 else np.array(row["iou"])[:, 0, :, part - 1]
        )
        value = {
            frozenset(name.split("+")): by_seed[:, u].mean()
            for u, name in enumerate(board["subsets"])
        }
        value[frozenset()] = 0.0
        for place, letter in enumerate("RDN"):
            adds = [
                value[frozenset(order[: order.index(letter) + 1])]
                - value[frozenset(order[: order.index(letter)])]
                for order in permutations("RDN")
            ]
            assert worth["shapley"][part][place][0] == pytest.approx(np.mean(adds), abs=1e-3)
    miou = np.array(row["miou"])[:, 0].mean(0)
    sizes = np.array([name.count("+") + 1 for name in board["subsets"]])
    for p, expected in zip(sensors["p"], worth["curve"], strict=True):
        chances = (1 - p) ** sizes * p ** (3 - sizes) if p < 1 else (sizes == 1).astype(float)
        assert expected == pytest.approx((chances * miou).sum() / chances.sum(), abs=1e-3)


def test_logs_costs_and_pictures(board: dict[str, Any], runs: Path) -> None:
    alpha = row_of(board, "alpha")
    assert alpha["training"][1] == {
        "train/loss": {"step": list(CURVE), "value": [loss for loss, _ in CURVE.values()]},
        "val/average_miou": {"step": [20, 30], "value": [25.0, 50.0]},
    }
    assert row_of(board, "gamma")["training"] == [{}]
    costs = build_payload(runs, "toy", 0, runs.parent / "complexity")["datasets"][0]["costs"]
    values = {"parameters": 3500000.0, "gmac": 4.25}
    assert costs[0] == {"method": "alpha", "backbone": "pvt_v2_b0", "values": values}
    assert build_payload(runs, "toy", 0, runs)["datasets"][0]["costs"] == []
    (scene,) = board["gallery"]["scenes"]
    assert (
        set(scene["rows"]) == {"alpha-group", "beta-group"}
        and scene["rows"]["beta-group"]["seed"] == 0
    )
    assert board["gallery"]["unscored"] == [[0, 0, 255]]
    assert scene["label"].startswith("data:image/png;base64,") and set(scene["modalities"]) == {
        "rgb",
        "dsm",
        "nir",
    }


def test_pictures_that_do_not_fit_are_named() -> None:
    """Scenes of 10 to 19 characters: the first of every dataset, then the second ones."""
    one: dict[str, Any] = {"scenes": [{"id": "a1"}, {"id": "a2"}]}
    other: dict[str, Any] = {"scenes": [{"id": "b" * 8}]}
    named, remarks = [("one", one), ("other", other), ("none", {})], Skipped()
    limit_galleries(named, 2 * len('{"id": "a1"}') + len('{"id": "bbbbbbbb"}') - 1, remarks)
    assert one == {"scenes": [{"id": "a1"}]} and other == {"scenes": [{"id": "b" * 8}]}
    assert len(remarks) == 1 and "one, a2" in remarks[0]
    limit_galleries(named, 12, remarks)
    assert one == {"scenes": [{"id": "a1"}]} and other == {}


def test_a_picture_outside_its_folder_is_not_read(tmp_path: Path) -> None:
    runs = toy_runs(tmp_path)
    (runs / "alpha" / "secret.png").write_bytes(b"secret")
    for seed in METHODS["alpha"]:
        index = runs / "alpha" / str(seed) / "examples" / "index.json"
        content = json.loads(index.read_text())
        content["scenes"][0]["subsets"][0] = "../../../secret"
        index.write_text(json.dumps(content))
    content = build_payload(runs, "", 0, tmp_path)
    assert set(content["datasets"][0]["boards"][0]["gallery"]["scenes"][0]["rows"]) == {
        "beta-group"
    }
    assert "is no file name" in content["remarks"][0]


@pytest.mark.parametrize("place", ["picture", "scene", "examples", "no picture"])
def test_a_linked_picture_is_not_read(place: str, tmp_path: Path) -> None:
    """A run that was received must not put a file of the reader into the page."""
    runs = toy_runs(tmp_path)
    run = runs / "alpha" / str(next(iter(METHODS["alpha"])))
    (scene, *_) = sorted((run / "examples").glob("*/"))
    linked = {"picture": scene / "label.png", "scene": scene, "examples": run / "examples"}
    if place == "no picture":
        (scene / "label.png").write_text("root:x:0:0")
    else:
        kept = tmp_path / "elsewhere"
        linked[place].rename(kept)
        linked[place].symlink_to(kept)
    for seed in METHODS["alpha"][1:]:
        shutil.rmtree(runs / "alpha" / str(seed) / "examples")
    content = build_payload(runs, "", 0, tmp_path)
    scenes = content["datasets"][0]["boards"][0]["gallery"]["scenes"]
    assert set(scenes[0]["rows"]) == {"beta-group"}
    (remark,) = [text for text in content["remarks"] if "cannot be read" in text]
    assert ("no picture" if place == "no picture" else "is a link") in remark


def test_a_row_is_named_after_its_encoder_only_where_its_method_has_several(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    toy_record(runs, "alpha")
    toy_record(runs, "alpha", 1, identity="alpha-large", group="alpha-large", backbone="pvt_v2_b2")
    toy_record(runs, "beta", backbone="none")
    (data,) = build_payload(runs, "", 0, tmp_path)["datasets"]
    names = sorted(row["name"] for row in data["boards"][0]["rows"])
    assert names == ["alpha pvt_v2_b0", "alpha pvt_v2_b2", "beta"]


def altered(runs: Path, variant: str, **changes: Any) -> None:
    """A whole record with entries of another program in its manifest."""
    manifest = toy_record(runs, variant).path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))


def test_what_cannot_be_shown_is_named(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    toy_record(runs, "good", result=toy_result(0.7, scenes=1, blocks=1))
    toy_record(runs, "elsewhere", fingerprint="e" * 64, created="2025-01-01")
    altered(
        runs,
        "strange",
        convention={"outputs": [0, 1, 9], "averaged": [0, 1], "ignored": [], "absent": "zero"},
    )
    altered(runs, "bare", protocol={})
    toy_record(runs, "broken")
    (runs / "broken" / "0" / "record" / "summary.npz").write_bytes(b"PK cut")
    toy_record(runs, "old")
    manifest = runs / "old" / "0" / "record" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 0'))
    (runs / "good" / "0" / "logs").mkdir()
    (runs / "good" / "0" / "logs" / "metrics.csv").write_text("")
    content = build_payload(runs, "", SAMPLES, tmp_path)
    (data,) = content["datasets"]
    assert [row["method"] for row in data["boards"][0]["rows"]] == ["good"]
    for word in ("elsewhere", "strange", "bare", "broken", "old"):
        said = [
            line
            for line in content["remarks"]
            if word in line or (word == "elsewhere" and "fingerprint" in line)
        ]
        assert len(said) == 1, (word, content["remarks"])
    assert "single" in data["boards"][0]["intervals"]["reason"]


def test_slim_records_have_no_intervals_and_say_so_once(tmp_path: Path) -> None:
    runs = toy_runs(tmp_path)
    for path in runs.rglob("scenes.npz"):
        path.unlink()
    content = build_payload(runs, "", SAMPLES, tmp_path)
    intervals = content["datasets"][0]["boards"][0]["intervals"]
    assert intervals["rows"] == {} and intervals["pairs"] == []
    assert "counts per scene" in intervals["reason"]
    assert content["remarks"] == []


def test_command_and_empty_folder(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", "--out", str(tmp_path / "page"), "--samples", "100", "--runs"]
    (tmp_path / "none").mkdir()
    assert main([*words, str(tmp_path / "none")]) == 0
    said = capsys.readouterr().out
    assert "no run record" in said and "make bench" in said
    assert main([*words, str(runs)]) == 0
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    # one that shows runs is not replaced by one that shows none
    for nothing in ([str(runs), "--data", "foo"], [str(tmp_path / "none")]):
        assert main([*words, *nothing]) == 2
        assert (tmp_path / "page" / "index.html").read_text(encoding="utf-8") == page
    assert "5 runs" in capsys.readouterr().out and "{{" not in page.split("<script", 1)[0]
    assert main([*words, str(runs), "--samples", "7"]) == 2
    assert "at least 100" in capsys.readouterr().err


def test_no_text_can_leave_its_place_in_the_page() -> None:
    evil = {"name": "</script><script>alert(1)</script><!--", "line": "\u2028"}
    text = embedded_json(evil)
    assert "<" not in text and json.loads(text) == evil


def test_torch_is_not_imported(runs: Path, tmp_path: Path) -> None:
    words = ["report", "--runs", str(runs), "--out", str(tmp_path), "--samples", "100"]
    script = (
        f"import sys; from benchmark.__main__ import main; main({words!r}); "
        "print(sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not {"'torch'", "'lightning'", "'rasterio'"} & set(
        done.stdout.replace("[", " ").replace(",", " ").split()
    )


def test_an_interval_belongs_to_all_seeds_of_its_row(tmp_path: Path) -> None:
    """Seed 1 of alpha is slim, a file of beta damaged: what is left has other means."""
    runs = toy_runs(tmp_path)
    (runs / "alpha" / "1" / "record" / "scenes.npz").unlink()
    (runs / "beta" / "0" / "record" / "scenes.npz").write_bytes(b"PK cut")
    content = build_payload(runs, "", SAMPLES, tmp_path)
    intervals = content["datasets"][0]["boards"][0]["intervals"]
    assert set(intervals["rows"]) == {"gamma-group"} and "2 methods lack" in intervals["how"]
    assert len(content["remarks"]) == 1 and "damaged" in content["remarks"][0]
