"""How long the rest of a sweep takes: from records, or from a few steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.choices import PUBLISHED
from benchmark.experiment.lightning_cli import build_cli
from benchmark.experiment.request import Request
from benchmark.sweep import probe
from benchmark.sweep.cell_states import CellState
from benchmark.sweep.estimate import PROBES, Durations
from benchmark.sweep.plan import Cell, plan_cells
from benchmark.sweep.sweep_file import Resources, Wanted
from tests.support.toy_records import toy_record


def test_times_are_those_of_the_nearest_records(tmp_path: Path) -> None:
    manifests = []
    for seed, seconds in enumerate((10.0, 30.0, 20.0)):
        durations = {"fit_s": seconds, "test_s": 5.0}
        manifests.append(toy_record(tmp_path, "sgma", seed, durations=durations).manifest)
    entry = manifests[0]
    durations = Durations.of(manifests, tmp_path)
    request = Request("sgma", entry.data, protocol=entry.protocol.name)
    cell = Cell(request, Resources(), group="g", backbone=entry.backbone)
    assert durations.of_cell(cell) == 25.0
    # the same under another protocol is near enough, other settings or methods are not
    assert durations.of_cell(replace(cell, request=replace(request, protocol="other"))) == 25.0
    words = ("--trainer.max_steps=9",)
    changed = replace(cell, request=replace(request, overrides=words))
    assert durations.of_cell(changed) is None
    assert durations.of_cell(replace(cell, request=replace(request, method="magic"))) is None
    (tmp_path / PROBES).write_text(json.dumps({"g": 7.0}))
    assert Durations.of(manifests, tmp_path).of_cell(changed) == 7.0


def test_published_records_tell_the_time_of_a_new_seed(tmp_path: Path) -> None:
    manifest = next((PUBLISHED / "records" / "miniature").glob("sgma-*/manifest.json"))
    backbone = json.loads(manifest.read_text())["backbone"]
    request = Request("sgma", "miniature", seed=99, runs=tmp_path)
    cell = Cell(request, Resources(), backbone=backbone)
    known = Durations.at_hand([cell], tmp_path).of_cell(cell)
    assert known and 60 < known < 36000


def test_a_probe_knows_the_steps_of_the_whole_training(
    tiny_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "WARM_UP", 1)
    settings = ("--data.window=32", "--data.num_workers=0", "--data.epoch_windows=8")
    settings += ("--data.batch_size=2", "--trainer.max_epochs=7", "--trainer.max_steps=-1")
    request = Request("control", "tiny", runs=tmp_path / "runs", store=tiny_stores)
    request = replace(request, overrides=settings)
    (cell,) = plan_cells([Wanted(request, Resources())])
    found = probe.probe_cell(cell, steps=2)
    # seven epochs of eight windows in pairs
    assert found.steps == 7 * 8 // 2 and found.seconds_per_step > 0
    assert found.seconds == found.steps * found.seconds_per_step
    assert not (tmp_path / "runs").exists(), "nothing is kept"
    monkeypatch.setattr(probe, "probe_cell", lambda cell: found)
    probe.probe_missing([CellState(cell, "missing")], tmp_path)
    assert json.loads((tmp_path / PROBES).read_text()) == {cell.group: found.seconds}
    # the experiment itself is what it was
    assert build_cli(request).identity == cell.identity
