"""`imss reliability` on a run of one step: counts, table, picture, and whose counts they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmark.__main__ import main
from benchmark.metrics.reliability import reliability_scores
from benchmark.records.arrays import read_arrays
from benchmark.records.record import RELIABILITY, SUMMARY, read_record, write_npz
from benchmark.records.reliability import read_reliability
from tests.support.short_run import train_one_step

pytestmark = pytest.mark.usefixtures("no_published_records")


def test_a_finished_run_gets_its_reliability_and_other_counts_are_refused(
    tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_one_step(tiny_stores, tmp_path / "runs", "control")
    capsys.readouterr()
    assert main(["reliability", "--run", str(run)]) == 0
    shown = capsys.readouterr().out
    for subset in ("R ", "D+N ", "R+D+N "):
        assert f"\n{subset:12} ECE" in f"\n{shown}", shown
    record = read_record(run / "record")
    counts = read_reliability(record)
    assert counts and (run / "reliability.png").read_bytes()[:4] == b"\x89PNG"
    scores = reliability_scores(counts)
    # overlapping windows, ignored pixels: the accuracy is that of the record
    accuracies = [entry.oa for entry in record.scores().values()]
    assert scores.accuracy.tolist() == accuracies
    assert np.isfinite(scores.brier).all() and scores.changed[-1] == 0

    assert main(["leaderboard", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]) == 0
    assert "control" in (tmp_path / "tiny.reliability.md").read_text()

    capsys.readouterr()
    (run / "record" / RELIABILITY).unlink()
    arrays = read_arrays(run / "record" / SUMMARY)
    # a single pixel elsewhere
    moved = np.argwhere(arrays["counts"][0, 0, 0] > 0)[0]
    arrays["counts"][0, 0, 0][tuple(moved)] -= 1
    arrays["counts"][0, 0, 0][moved[0], (moved[1] + 1) % 3] += 1
    write_npz(run / "record" / SUMMARY, arrays)
    assert main(["reliability", "--run", str(run)]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "The test gives 1 other confusion counts than" in said and "threads" in said
    assert not (run / "record" / RELIABILITY).exists()

    path = run / "record" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"fingerprint": "0" * 64}))
    assert main(["reliability", "--run", str(run)]) == 2
    assert "another fingerprint" in capsys.readouterr().err
    path.unlink()
    assert main(["reliability", "--run", str(run)]) == 2
    assert "is no whole run record: manifest.json is missing" in capsys.readouterr().err
