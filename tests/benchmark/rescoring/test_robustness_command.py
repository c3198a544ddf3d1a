"""`imss robustness` on a run of one step: what it writes, repeats and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmark.__main__ import main
from benchmark.records.damage import read_damage
from benchmark.records.record import read_record
from benchmark.tracking.damage_images import FOLDER
from benchmark.tracking.example_images import INDEX
from tests.support.short_run import train_one_step


@pytest.fixture(scope="module")
def run(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    return train_one_step(
        tiny_stores, runs, "control", batch=32, words=["--scenario", "zero_normalised"]
    )


def robustness(run: Path, *words: str) -> int:
    return main(["robustness", "--run", str(run), *words])


def test_a_run_is_scored_once_under_each_scenario(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert robustness(run, "--scenario", "absence") == 0
    first = capsys.readouterr().out
    assert "black_raw (1 of 2)" in first and "black_raw        clean" in first
    # which `bench SCENARIO=zero_normalised` has scored
    assert "zero_normalised (" not in first and "zero_normalised  clean" in first
    record = read_record(run / "record")
    found = {one.damage.name: one for one in read_damage(record)}
    assert found.keys() == {"black_raw", "zero_normalised"}
    for one in found.values():
        # the network with all sensors is that of the record
        assert np.array_equal(one.counts[one.cases.index("clean")], record.counts[-1])
        # all cases speak of the same pixels
        assert len({int(case[0].sum()) for case in one.counts}) == 1
    index = json.loads((run / FOLDER / INDEX).read_text())
    shown = {entry["id"] for entry in index["scenes"]}
    assert shown == {one.damage.identity for one in found.values()}
    # an interruption costs the scenario at work only: what is there is not scored again
    stamps = {path: path.stat().st_mtime_ns for path in (run / "record/scenarios").iterdir()}
    assert robustness(run, "--scenario", "absence,holes") == 0
    assert "black_raw (" not in (second := capsys.readouterr().out) and "holes (2 of 3)" in second
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert robustness(run, "--scenario", "black_raw", "--force") == 0
    again = {one.damage.name: one for one in read_damage(record)}
    assert np.array_equal(again["black_raw"].counts, found["black_raw"].counts)
    # other draws
    assert robustness(run, "--scenario", "holes", "--seed", "1") == 0
    other = {one.damage.name: one for one in read_damage(record)}["holes"]
    assert other.damage.seed == 1 and not np.array_equal(other.counts, again["holes"].counts)


def test_mistakes_are_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert robustness(run, "--scenario", "fog") == 2
    assert "Unknown SCENARIO 'fog'" in capsys.readouterr().err
    assert robustness(tmp_path / "nowhere") == 2
    assert "no run directory" in capsys.readouterr().err
    manifest = run / "record/manifest.json"
    text = manifest.read_text()
    manifest.write_text(json.dumps({**json.loads(text), "fingerprint": "0" * 64}))
    assert robustness(run, "--scenario", "rmm") == 2
    manifest.write_text(text)
    assert "another fingerprint" in capsys.readouterr().err
