"""Real offline W&B runs, read back with the client's own reader; no account, no network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from benchmark.__main__ import main
from benchmark.commands.bench import IN_WANDB
from benchmark.experiment.lightning_cli import build_cli
from benchmark.experiment.request import Request
from benchmark.experiment.restore import load_trained_run, read_run_config
from benchmark.metrics.subsets import modality_subsets, subset_name
from benchmark.profiling.cost import count_cost
from benchmark.records.record import Record, read_record
from benchmark.records.reliability import read_reliability, write_reliability
from benchmark.tracking.keys import KEYS
from benchmark.tracking.wandb_callback import diagnostic_values, example_scenes
from benchmark.tracking.wandb_summary import import_record
from benchmark.tracking.wandb_workspace import workspace_sections
from datamodules.base import SceneDataModule
from tests.support.toy_records import toy_record
from tests.support.toy_trust import toy_damage, toy_reliability

LETTERS = {"rgb": "R", "dsm": "D", "nir": "N"}
SUBSETS = [subset_name(subset, LETTERS) for subset in modality_subsets(list(LETTERS))]
PALETTE = {0: (0, 0, 0), 1: (255, 0, 0), 2: (0, 255, 0)}
COLUMNS = {
    "subset_scores": ["subset", "miou", "mf1", "oa", "oa_all"],
    "class_scores": ["subset", "class", "iou", "f1"],
}
OVERRIDES = (
    *("--data.window", "32", "--data.num_workers", "0", "--trainer.max_steps", "2"),
    *("--trainer.val_check_interval", "1", "--trainer.log_every_n_steps", "1"),
    *("--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"),
    *("--cell.learning", "true"),
)


@dataclass
class Run:
    """An offline run as `wandb leet inspect` shows it, and the directory of its media."""

    summary: dict[str, Any]
    records: list[dict[str, Any]]
    files: Path

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [entry[kind] for entry in self.records if entry["type"] == kind]

    def images(self, key: str) -> list[np.ndarray]:
        return [
            np.asarray(Image.open(self.files / name))
            for name in self.summary["summary"][key]["filenames"]
        ]


@dataclass
class Runs:
    """The same cell twice with W&B (the second by force), and once without."""

    logged: list[Run]
    record: Record
    with_wandb: Path
    without: Path


def read_back(path: Path) -> Run:
    def inspect(*options: str) -> str:
        words = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(path)]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    lines = [json.loads(line) for line in inspect().splitlines()]
    return Run(json.loads(inspect("--summary")), lines, path.parent / "files")


@pytest.fixture(scope="module")
def runs(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    root = tmp_path_factory.mktemp("runs")
    words = ["bench", "--data", "tiny", "--store", str(tiny_stores), *OVERRIDES]
    with pytest.MonkeyPatch.context() as patch:
        # the pictures of the report have tests of their own
        patch.setattr("benchmark.tracking.example_images.store_examples", lambda *given: None)
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT"):
            patch.delenv(name, raising=False)
        patch.setenv("NETRC", str(root / "no-netrc"))
        patch.setenv("WANDB_CONFIG_DIR", str(root / "no-settings"))
        for more in ([], ["--force"]):
            assert main([*words, "--runs", str(root / "wandb"), "--logger", "wandb", *more]) == 0
        assert main([*words, "--runs", str(root / "csv")]) == 0
        files = sorted((root / "wandb").rglob("run-*.wandb"), key=lambda path: path.stat().st_mtime)
        places = [
            next(path for path in root.glob(f"{name}/tiny/sgma/pvt*")) for name in ("wandb", "csv")
        ]
        yield Runs([read_back(path) for path in files], read_record(places[0] / "record"), *places)


def test_two_runs_of_one_cell_have_its_identity_as_their_id(runs: Runs) -> None:
    identity, group = runs.record.manifest.identity, runs.record.manifest.group
    assert [run.summary["run_id"] for run in runs.logged] == [identity, identity]
    for run in runs.logged:
        assert {entry["run_id"] for entry in run.of("run")} == {identity}
        assert {entry["run_group"] for entry in run.of("run")} == {
            f"tiny/sgma/pvt_v2_b0/{group[:8]}"
        }
        assert run.summary["state"] == "finished" and run.summary["project"] == "imss-bench"
        assert {key for key in run.summary["summary"] if key[0] != "_"} == {
            key for key in runs.logged[0].summary["summary"] if key[0] != "_"
        }


def test_config_and_summary_are_the_cells(runs: Runs) -> None:
    config, summary = runs.logged[0].summary["config"], runs.logged[0].summary["summary"]
    for key in ("method", "variant", "data", "backbone", "seed", "fingerprint", "identity"):
        assert config[key] == getattr(runs.record.manifest, key)
    assert config["protocol"] == "standard"
    assert config["config"]["model"]["init_args"]["fusion"] == "sgf", "nested, not flattened"
    scores = {name: 100 * entry.miou for name, entry in runs.record.scores().items()}
    assert summary["average_miou"] == pytest.approx(sum(scores.values()) / 7)
    assert summary["top1_miou"] == pytest.approx(max(scores.values()))
    assert summary["last1_miou"] == pytest.approx(min(scores.values()))
    assert {name: summary[f"miou_{name}"] for name in SUBSETS} == pytest.approx(scores)
    state = torch.load(runs.with_wandb / "checkpoints" / "last.ckpt", weights_only=True)[
        "state_dict"
    ]
    weights = sum(
        v.numel()
        for k, v in state.items()
        if not k.endswith(("running_mean", "running_var", "_tracked"))
    )
    assert summary["parameters_m"] == pytest.approx(weights / 1e6)
    run = load_trained_run(runs.with_wandb)
    profile = count_cost(run.model.to("meta"), run.data.window)
    assert summary["gmac"] == pytest.approx(profile.subset_gmac(tuple(run.model.modalities)))
    assert summary["fit_s"] > 0 and summary["test_s"] > 0


def test_tables_are_the_records_scores(runs: Runs) -> None:
    scores, labels = runs.record.scores(), ("ground", "building", "tree")
    found = {}
    for name, columns in COLUMNS.items():
        path = runs.logged[1].files / runs.logged[1].summary["summary"][name]["path"]
        table = json.loads(path.read_text())
        assert table["columns"] == columns
        found[name] = table["data"]
    for subset, *values in found["subset_scores"]:
        entry = scores[subset]
        assert values == pytest.approx(
            [100 * x for x in (entry.miou, entry.mf1, entry.oa, entry.oa_all)]
        )
    expected = {
        (s, c): (100 * i, 100 * f)
        for s, e in scores.items()
        for c, i, f in zip(labels, e.iou, e.f1, strict=True)
    }
    assert {(row[0], row[1]) for row in found["class_scores"]} == set(expected) and len(
        expected
    ) == 21
    for subset, label, *values in found["class_scores"]:
        assert values == pytest.approx(expected[subset, label])


def test_a_published_record_is_sent_as_the_run_that_it_came_from(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    import_record(runs.record, tmp_path)
    sent = read_back(next(tmp_path.rglob("run-*.wandb")))
    original = runs.logged[0]
    assert sent.summary["run_id"] == original.summary["run_id"]
    for key in ("run_group", "display_name"):
        values = {entry[key] for entry in sent.of("run") if key in entry}
        assert values == {entry[key] for entry in original.of("run") if key in entry}
    # what only the model knows is not in a record
    scores = {key for key in original.summary["summary"] if "miou" in key and "/" not in key}
    for key in scores:
        assert sent.summary["summary"][key] == pytest.approx(original.summary["summary"][key])
    config = sent.summary["config"]
    for key in ("method", "variant", "data", "backbone", "seed", "fingerprint", "protocol"):
        assert config[key] == original.summary["config"][key]


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Record, Run]:
    """A record that was scored under damage and has its confidences counted, and what W&B gets."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    record = toy_record(tmp_path / "records", "alpha", 1)
    # clean 81; 71 and 68.5 at 0.25, 61 and 58.5 at 20 %; 71 at 1 m
    toy_damage(record, "fog", ("0.25", "20 %"), ("R", "R+D"))
    toy_damage(record, "tilt", ("1 m",), ("D",))
    toy_damage(record, "black_raw", ("absent",), ("R",), group="absence")
    write_reliability(record, toy_reliability(record))
    import_record(record, tmp_path / "wandb")
    return record, read_back(next((tmp_path / "wandb").rglob("run-*.wandb")))


def test_scores_under_damage_and_of_confidences_are_sent(trusted: tuple[Record, Run]) -> None:
    record, run = trusted
    sent = {k: v for k, v in run.summary["summary"].items() if k.startswith("robustness/")}
    fog = {"0.25/R": 71, "0.25/R+D": 68.5, "20 %/R": 61, "20 %/R+D": 58.5}
    expected = {f"robustness/fog/{case}": score for case, score in fog.items()}
    expected |= {"robustness/tilt/1 m/D": 71, "robustness/black_raw/absent/R": 71}
    # absence is no damage: the mean of 64.75 and 71
    expected |= {"robustness/clean": 81, "robustness/scenarios": 2, "robustness/mPC": 67.875}
    assert sent == pytest.approx(expected)
    counts = read_reliability(record)
    assert counts
    for place, subset in enumerate(record.subsets):
        pixels = counts.pixels[place].sum()
        gaps = np.abs(counts.hits[place] - counts.confidence[place] * 2.0**-22).sum()
        wanted = {"ece": 100 * gaps / pixels, "brier": counts.brier[place] * 2.0**-22 / pixels}
        wanted["changed"] = 100 * counts.changed[place].sum() / pixels
        for name, value in wanted.items():
            key = f"reliability/{name}/{subset}"
            assert run.summary["summary"][key] == pytest.approx(value)


def test_a_record_without_them_sends_none(runs: Runs) -> None:
    keys = runs.logged[0].summary["summary"]
    assert not [key for key in keys if key.startswith(("robustness/", "reliability/"))]


def test_curves_have_a_point_per_validation(runs: Runs) -> None:
    history = [entry["item"] for entry in runs.logged[0].of("history")]
    for name in ("average", "top1", "last1"):
        assert sum(f"val/{name}_miou" in item for item in history) == 2
    values = [item for item in history if "diagnostics/robustness/rgb/1" in item]
    assert len(values) == 3, "after two validations and the test"
    for item in values:
        for kind in ("robustness", "sampling"):
            for scale in range(1, 5):
                assert sum(
                    item[f"diagnostics/{kind}/{m}/{scale}"] for m in LETTERS
                ) == pytest.approx(1, abs=1e-5)


def test_examples_are_the_validation_scene_and_its_predictions(
    runs: Runs, tiny_source: Path
) -> None:
    run = runs.logged[0]
    with rasterio.open(tiny_source / "two_rgb.tif") as file:
        assert np.array_equal(run.images("examples/rgb")[0], file.read().transpose(1, 2, 0))
    with rasterio.open(tiny_source / "two_label.tif") as file:
        ids = file.read(1)
    label = run.images("examples/label")[0]
    for number, colour in PALETTE.items():
        assert (label[ids == number] == colour).all()
    for subset in SUBSETS:
        (picture,) = run.images(f"examples/prediction/{subset}")
        assert picture.shape == (64, 50, 3)
        right = np.array(
            [
                PALETTE[i] == tuple(c)
                for i, c in zip(ids[ids < 255], picture[ids < 255], strict=True)
            ]
        )
        assert {tuple(colour) for colour in picture.reshape(-1, 3)} <= set(PALETTE.values())
        assert run.summary["summary"][f"examples/prediction/{subset}"]["captions"] == [
            f"two, {100 * right.mean():.0f} % right"
        ]
    for scale in range(1, 5):
        maps = [np.stack(run.images(f"maps/robustness/{m}/{scale}")).astype(int) for m in LETTERS]
        assert maps[0].shape == (4, 32, 32)
        assert abs(sum(maps) - 255).max() <= 2, "three roundings to bytes"


def test_logging_changes_no_number(runs: Runs) -> None:
    with_wandb, without = (
        torch.load(place / "checkpoints" / "last.ckpt", weights_only=True)
        for place in (runs.with_wandb, runs.without)
    )
    assert with_wandb["state_dict"].keys() == without["state_dict"].keys()
    for name, values in without["state_dict"].items():
        assert torch.equal(with_wandb["state_dict"][name], values), name
    torch.testing.assert_close(
        with_wandb["optimizer_states"], without["optimizer_states"], rtol=0, atol=0
    )
    other = read_record(runs.without / "record")
    assert np.array_equal(runs.record.counts, other.counts)
    assert other.manifest.identity == runs.record.manifest.identity
    assert not list(runs.without.rglob("*wandb*"))
    logs = [
        (place / "logs" / "version_0" / "metrics.csv").read_text()
        for place in (runs.with_wandb, runs.without)
    ]
    assert logs[0] == logs[1]


def test_every_key_is_declared_and_logged(runs: Runs, trusted: tuple[Record, Run]) -> None:
    """What only other methods log (maps of their own diagnostics) has no panel of its own."""
    logged = {key for key in runs.logged[0].summary["summary"] if key[0] != "_"}
    logged |= {key for key in trusted[1].summary["summary"] if key[0] != "_"}
    for key in logged:
        assert any(entry.matches(key) for entry in KEYS), key
    for entry in KEYS:
        assert any(entry.matches(key) for key in logged), entry.name


def test_every_panel_shows_what_runs_log(runs: Runs, trusted: tuple[Record, Run]) -> None:
    logged = {*runs.logged[0].summary["summary"], *trusted[1].summary["summary"]}
    # of the sensors that both have
    sections = workspace_sections({"rgb": "R", "dsm": "D"})
    for panels in sections.values():
        for panel in panels:
            config = panel._to_model().config
            if regex := getattr(config, "metric_regex", None):
                assert any(re.search(regex, key) for key in logged), regex
            shown = {
                *(getattr(config, "metrics", None) or ()),
                *(getattr(config, "media_keys", None) or ()),
            }
            assert shown <= logged
    assert len(sections["Robustness"]) == 3 and len(sections["Reliability"]) == 9


def test_shares_of_the_gradient_are_no_terms_of_the_loss() -> None:
    found = {}
    for panel in workspace_sections(LETTERS)["Curves"]:
        found[panel.title] = getattr(panel._to_model().config, "metric_regex", None)
    keys = ("train/seg", "train/learning/rgb")
    for title, shown in (("Terms of the training loss", keys[0]), ("What sensors learn", keys[1])):
        assert [key for key in keys if re.search(found[title], key)] == [shown]


def test_later_work_on_a_run_is_no_run_of_its_own(runs: Runs) -> None:
    assert json.loads((runs.with_wandb / "config.json").read_text())["request"]["logger"] == "wandb"
    assert read_run_config(runs.with_wandb)[0].logger == "csv"


def test_example_scenes_follow_from_the_data_alone(tiny_stores: Path) -> None:
    data = SceneDataModule("tiny", str(tiny_stores), window=32)
    assert [scene.id for scene in example_scenes(data)] == ["two"]
    del data.splits["val"]
    assert [scene.id for scene in example_scenes(data)] == ["one"], (
        "training scenes, not test scenes"
    )
    data.splits["train"] = data.splits["test"][::-1]
    shown = example_scenes(
        SceneDataModule("tiny", str(tiny_stores), window=16, modalities=["dsm"], seed=5)
    )
    assert [scene.id for scene in shown] == ["two"]
    assert [scene.id for scene in example_scenes(data)] == sorted(["three", "four", "five"])
    del data.splits["train"][0].paths["nir"]
    assert len(example_scenes(data)) == 2, "whole scenes come first"


def test_masks_of_mcrm_are_shown(tiny_stores: Path, tmp_path: Path) -> None:
    words = ("--data.window", "32", "--data.num_workers", "0", "--trainer.accelerator", "cpu")
    cli = build_cli(
        Request("mobanet", "tiny", "standard", 0, "", tmp_path, tiny_stores, "csv", words)
    )
    cli.model.eval()
    torch.manual_seed(0)
    with torch.inference_mode():
        found = diagnostic_values(cli.model, cli.datamodule, maps=True)
    masks = {m: [np.asarray(image.image) for image in found[f"maps/masked/{m}"]] for m in LETTERS}
    hit = [
        (m, number) for m, pictures in masks.items() for number, p in enumerate(pictures) if p.any()
    ]
    assert len(hit) == 1, "a quarter of four windows loses a rectangle of one modality"
    share = sum((picture == 255).mean() for pictures in masks.values() for picture in pictures) / 4
    assert sum(found[f"diagnostics/masked/{m}"] for m in LETTERS) == pytest.approx(share)
    hard = np.stack([np.asarray(image.image) for image in found["maps/hard"]])
    assert set(np.unique(hard)) <= {0, 255}
    assert found["diagnostics/hard"] == pytest.approx((hard == 255).mean())


def test_a_run_killed_after_its_record_logs_its_scores_when_asked_for_again(
    runs: Runs, tiny_stores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[Any] = []
    name = "benchmark.tracking.wandb_summary.log_result"
    monkeypatch.setattr(name, lambda loggers, *values: logged.append(values))
    monkeypatch.setattr("benchmark.tracking.example_images.store_examples", lambda *given: None)
    monkeypatch.setenv("WANDB_MODE", "offline")
    words = ["bench", "--data", "tiny", "--store", str(tiny_stores), *OVERRIDES]
    words += ["--runs", str(runs.with_wandb.parents[2]), "--logger", "wandb"]
    (runs.with_wandb / IN_WANDB).unlink()
    assert main(words) == main(words) == 0
    [[record, more]] = logged
    assert record.manifest.steps == 2 and more["fit_s"] > 0
    assert np.array_equal(record.counts, runs.record.counts)
