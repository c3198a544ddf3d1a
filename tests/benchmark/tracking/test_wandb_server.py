"""What the real W&B client sends to a stand-in for its server: one run for each experiment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.metrics.summaries import average_top1_last1
from benchmark.records.record import Record
from benchmark.tracking.wandb_summary import import_record
from tests.support.toy_records import toy_record
from tests.support.wandb_server import WandbServer, wandb_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbServer]:
    import wandb

    with wandb_server() as running:
        for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_TAGS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))
        wandb.teardown()  # what it has learned of another address in this process
        yield running
        wandb.teardown()
        assert not running.unanswered, running.unanswered


def sync(*words: str) -> None:
    """Call `wandb sync`."""
    line = [sys.executable, "-m", "wandb", "sync", *words]
    subprocess.run(line, check=True, capture_output=True, env=dict(os.environ), timeout=120)


def check(server: WandbServer, record: Record) -> None:
    """The server has one run, with the record's identity, group and scores."""
    [(project, name)] = server.runs
    run = server.runs[project, name]
    assert (project, name) == ("imss-bench", record.manifest.identity)
    assert run.sent["groupName"].endswith(record.manifest.group[:8])
    assert run.config["method"] == record.manifest.method
    assert run.config["identity"] == record.manifest.identity
    scores = [100 * entry.miou for entry in record.scores().values()]
    average, _, worst = average_top1_last1(scores)
    assert run.summary["average_miou"] == pytest.approx(average)
    assert run.summary["last1_miou"] == pytest.approx(worst)


def test_an_offline_run_goes_up_once_however_often_it_is_sent(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = toy_record(tmp_path / "records", "alpha", 1)
    monkeypatch.setenv("WANDB_MODE", "offline")
    import_record(record, tmp_path)
    assert not server.runs
    monkeypatch.delenv("WANDB_MODE")
    [folder] = {path.parent for path in tmp_path.rglob("run-*.wandb")}
    sync(str(folder))
    check(server, record)
    [run] = server.runs.values()
    lines = dict(run.lines["wandb-history.jsonl"])
    assert {"subset_scores", "class_scores"} <= {key for line in lines.values() for key in line}
    sync("--include-synced", str(folder))
    check(server, record)
    assert run.lines["wandb-history.jsonl"].keys() == lines.keys()


def test_a_record_sent_twice_is_one_run_with_the_tags_of_its_sweep(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = toy_record(tmp_path / "records", "alpha", 1)
    monkeypatch.setenv("WANDB_TAGS", "paper")
    for _ in range(2):
        import_record(record, tmp_path)
        check(server, record)
        [run] = server.runs.values()
        # scores and two tables
        assert len(run.lines["wandb-history.jsonl"]) == 3
    assert run.sent["tags"] == ["paper"]
    assert "wandb-summary.json" in run.files
