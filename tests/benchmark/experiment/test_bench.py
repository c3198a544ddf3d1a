"""Whole runs on a tiny store: repeat, interrupt, resume, evaluate, and be told what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.__main__ import main
from benchmark.records.overrides import describe_overrides
from benchmark.records.record import read_record
from methods.sgma.module import SGMA

SMALL = ["--data.window", "32", "--data.batch_size", "2", "--data.num_workers", "0"]
SMALL += ["--trainer.val_check_interval", "2", "--trainer.accelerator", "cpu"]
SMALL += ["--trainer.enable_progress_bar", "false"]


def bench(stores: Path, runs: Path, *words: str, method: str = "sgma", data: str = "tiny") -> int:
    options = ["--method", method, "--data", data, "--store", str(stores), "--runs", str(runs)]
    return main(["bench", *options, *SMALL, *words])


def only_run(runs: Path) -> Path:
    found = [
        path.parent for path in runs.rglob("config.json") if not path.parent.name.startswith("old-")
    ]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def finished(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUNS with one finished cell of four steps."""
    runs = tmp_path_factory.mktemp("work") / "runs"
    assert bench(tiny_stores, runs, "--trainer.max_steps", "4") == 0
    return runs


def test_a_cell_leaves_record_leaderboard_and_manifest(finished: Path) -> None:
    run = only_run(finished)
    record = read_record(run / "record")
    assert record.subsets == ("R", "D", "N", "R+D", "R+N", "D+N", "R+D+N")
    manifest = record.manifest
    assert (manifest.method, manifest.data, manifest.backbone, manifest.seed) == (
        "sgma",
        "tiny",
        "pvt_v2_b0",
        0,
    )
    assert manifest.control is False
    assert manifest.steps == 4 and manifest.protocol.selected == "best"
    assert manifest.model["modalities"] == {"rgb": 3, "dsm": 1, "nir": 1}, (
        "linked values, not the parsed ones"
    )
    totals = record.counts.sum((1, 2, 3, 4))
    assert len(set(totals.tolist())) == 1, "every subset is scored on the same pixels"
    for suffix in ("csv", "md", "tex"):
        assert (finished.parent / "leaderboards" / f"tiny.{suffix}").exists()
    text = (run / "logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert {"val/average_miou", "val/top1_miou", "val/last1_miou", "val/miou/R+D"} <= set(
        text.split(",")
    )


def test_half_precision_is_a_row_of_its_own_and_counts_the_same_pixels(
    finished: Path, tiny_stores: Path, tmp_path: Path
) -> None:
    words = ["--precision", "bf16", "--trainer.max_steps", "4"]
    assert bench(tiny_stores, tmp_path / "runs", *words) == 0
    half = read_record(only_run(tmp_path / "runs") / "record")
    exact = read_record(only_run(finished) / "record")
    assert half.manifest.group != exact.manifest.group
    shown = [describe_overrides(one.manifest.overrides).split() for one in (half, exact)]
    assert set(shown[0]) ^ set(shown[1]) == {"trainer.precision=bf16-mixed"}
    # by scene, region and label; what was predicted of them is another question
    assert half.counts.dtype == np.int64
    assert np.array_equal(half.counts.sum(-1), exact.counts.sum(-1))


def test_an_accumulated_batch_is_a_row_of_its_own_with_the_same_steps(
    finished: Path, tiny_stores: Path, tmp_path: Path
) -> None:
    words = ["--accumulate", "2", "--trainer.max_steps", "4"]
    assert bench(tiny_stores, tmp_path / "runs", *words) == 0
    whole, parts = (read_record(only_run(runs) / "record") for runs in (finished, tmp_path))
    assert whole.manifest.group != parts.manifest.group
    shown = [describe_overrides(one.manifest.overrides).split() for one in (whole, parts)]
    assert set(shown[0]) ^ set(shown[1]) == {"cell.accumulate=2"}
    for one in (whole, parts):
        assert (one.manifest.batch, one.manifest.steps) == (2, 4)
    assert np.array_equal(whole.counts.sum(-1), parts.counts.sum(-1))


def test_compiling_is_in_the_manifest_and_makes_no_other_cell(
    finished: Path,
    tiny_stores: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = "benchmark.computation.compilation.compile_encoders"
    words = ["--trainer.max_steps", "4", "--cell.compile", "encoder"]
    monkeypatch.setattr(place, lambda *given: "there is no compiler")
    assert bench(tiny_stores, finished, *words) == 0
    said = capsys.readouterr().out
    assert "This cell is finished" in said
    assert said.count("The encoders are not compiled: there is no compiler.") == 1
    monkeypatch.setattr(place, lambda *given: "")
    assert bench(tiny_stores, tmp_path / "runs", *words) == 0
    manifests = [read_record(only_run(runs) / "record").manifest for runs in (finished, tmp_path)]
    assert [manifest.compiled for manifest in manifests] == ["none", "encoder"]
    assert manifests[0].identity == manifests[1].identity
    assert "cell.compile" not in describe_overrides(manifests[1].overrides)


def test_a_finished_cell_is_not_run_twice_unless_forced(
    finished: Path, tiny_stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = only_run(finished) / "record" / "manifest.json"
    before = record.read_bytes()
    assert bench(tiny_stores, finished, "--trainer.max_steps", "4") == 0
    assert "finished" in capsys.readouterr().out and record.read_bytes() == before
    assert bench(tiny_stores, finished, "--trainer.max_steps", "4", "--force") == 0
    assert len(list(finished.rglob("old-*"))) == 1
    again = read_record(only_run(finished) / "record")
    old = read_record(next(finished.rglob("old-*")) / "record")
    assert np.array_equal(again.counts, old.counts), "same seed, same machine: same counts"


def test_an_interrupted_cell_continues_to_the_same_weights(
    tiny_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = ["--trainer.max_epochs", "4", "--trainer.max_steps", "-1"]
    epochs += ["--trainer.val_check_interval", "1000"]
    assert bench(tiny_stores, tmp_path / "whole", *epochs) == 0

    def interrupt(self: SGMA) -> None:
        if self.current_epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SGMA, "on_train_epoch_start", interrupt)
        try:
            assert bench(tiny_stores, tmp_path / "cut", *epochs) == 130
        except SystemExit as stop:
            assert stop.code not in (0, None)
    cut = only_run(tmp_path / "cut")
    assert not (cut / "record").exists()
    logged = (cut / "logs" / "version_0" / "metrics.csv").read_bytes()
    assert bench(tiny_stores, tmp_path / "cut", *epochs) == 0
    assert (cut / "logs" / "version_0" / "metrics.csv").read_bytes() == logged, (
        "nothing logged is lost"
    )
    states = [weights(only_run(tmp_path / name)) for name in ("whole", "cut")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    counts = [read_record(only_run(tmp_path / name) / "record").counts for name in ("whole", "cut")]
    assert np.array_equal(*counts)


def weights(run: Path) -> dict[str, torch.Tensor]:
    content: dict[str, Any] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return dict(content["state_dict"])


def test_evaluating_the_selected_checkpoint_gives_the_recorded_counts(
    finished: Path, tiny_stores: Path, tmp_path: Path
) -> None:
    run = only_run(finished)
    words = [
        "evaluate",
        "--checkpoint",
        str(run / "checkpoints" / "best.ckpt"),
        "--store",
        str(tiny_stores),
    ]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert np.array_equal(
        read_record(tmp_path / "record").counts, read_record(run / "record").counts
    )


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    message = [line for line in error.splitlines() if line.startswith("imss: ")]
    assert len(message) == 1 and "Traceback" not in error
    return message[0]


def test_checkpoint_of_another_method(
    finished: Path, tiny_stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(only_run(finished) / "checkpoints" / "best.ckpt")
    words = ["evaluate", "--checkpoint", checkpoint, "--store", str(tiny_stores)]
    assert main([*words, "--method", "sgma_additive"]) == 2
    assert "is of method 'sgma'" in one_line(capsys)
    assert main([*words, "--model.fusion", "additive", "--model.mas", "false"]) == 2
    assert "another method, backbone, dataset or version" in one_line(capsys)


def test_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--checkpoint", str(tmp_path / "none.ckpt")]) == 2
    assert "There is no checkpoint" in one_line(capsys)
    (tmp_path / "stray.ckpt").write_bytes(b"")
    assert main(["evaluate", "--checkpoint", str(tmp_path / "stray.ckpt")]) == 2
    assert "run directory" in one_line(capsys)


def test_a_damaged_checkpoint(
    finished: Path, tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    whole = (only_run(finished) / "checkpoints" / "best.ckpt").read_bytes()
    (run / "checkpoints" / "best.ckpt").write_bytes(whole[: len(whole) // 2])
    for name in ("config.json", "inputs.json"):
        (run / name).write_bytes((only_run(finished) / name).read_bytes())
    words = ["--store", str(tiny_stores), "--out", str(tmp_path / "out")]
    assert main(["evaluate", "--checkpoint", str(run / "checkpoints" / "best.ckpt"), *words]) == 2
    assert "cannot be read as a checkpoint" in one_line(capsys)


def test_no_data_says_what_to_request_and_how_to_import_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(tmp_path, tmp_path / "runs", data="potsdam") == 2
    message = one_line(capsys)
    assert "ISPRS" in message and "make data DATA=potsdam SOURCE=" in message


def test_half_an_import_says_how_to_resume(
    tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "potsdam"
    half.mkdir()
    (half / "import.jsonl").write_text((tiny_stores / "tiny" / "import.jsonl").read_text())
    assert bench(tmp_path, tmp_path / "runs", data="potsdam") == 2
    assert "make data DATA=potsdam" in one_line(capsys)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--data.modalities", "[rgb, thermal]"], "'thermal'"),
        (["--data.score_label", "label_eroded"], "label_eroded"),
        (["--data.split", "split_other"], "split_other"),
        (["--data.normalization", "{rgb: nonsense}"], "nonsense"),
        (["--trainer.no_such_option", "1"], "no_such_option"),
        (["--model.fusion", "magic"], "fusion"),
        (["--data.stride", "64"], "stride"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(
    words: list[str],
    text: str,
    tiny_stores: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert bench(tiny_stores, tmp_path / "runs", "--trainer.max_steps", "1", *words) == 2
    assert text in one_line(capsys)


def test_without_validation_scenes_the_last_weights_count_and_the_table_says_so(
    tiny_stores: Path, tiny_source: Path, tmp_path: Path
) -> None:
    from datamodules.adapters.registry import import_named_dataset

    source = tmp_path / "source"
    source.mkdir()
    for path in tiny_source.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    scenes = (source / "scenes.csv").read_text().replace("two,val", "two,train")
    (source / "scenes.csv").write_text(scenes)
    import_named_dataset("noval", source, tmp_path / "stores")
    assert (
        bench(tmp_path / "stores", tmp_path / "runs", "--trainer.max_steps", "1", data="noval") == 0
    )
    assert read_record(only_run(tmp_path / "runs") / "record").manifest.protocol.selected == "last"
    assert "standard, last" in (tmp_path / "leaderboards" / "noval.md").read_text()


def test_a_raster_cut_short_after_the_import_is_one_line(
    tiny_source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from datamodules.adapters.registry import import_named_dataset

    store = import_named_dataset("cut", tiny_source, tmp_path / "stores")
    victim = next(
        scene for scene in store.scenes if scene.splits["split_standard"] == "train"
    ).paths["label"]
    victim.write_bytes(victim.read_bytes()[:400])
    # cut while the run goes on: the comparison at its start saw it whole
    monkeypatch.setattr("datamodules.ingest.file_changes.check_unchanged", lambda store: None)
    # a reading process of its own, as users have it: its error arrives with a traceback in front
    words = ("--trainer.max_steps", "1", "--data.num_workers", "1")
    assert bench(tmp_path / "stores", tmp_path / "runs", *words, data="cut") == 2
    message = one_line(capsys)
    assert victim.name in message and "--verify" in message
