"""The sweep of the published table: nothing is left to run, and its table is the published one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.__main__ import main
from benchmark.choices import PUBLISHED
from benchmark.records.record import search_records
from benchmark.sweep.plan import Cell


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """Cells that would have run; the store is known by its fingerprint alone."""
    cells: list[Cell] = []

    def run(engine: object, wanted: Sequence[Cell]) -> None:
        cells.extend(wanted)

    records, _ = search_records([PUBLISHED / "records" / "miniature"])
    newest = max(records, key=lambda record: record.manifest.created).manifest.fingerprint
    store = SimpleNamespace(fingerprint=newest, split=lambda name: {"val": ["a scene"]})
    monkeypatch.setattr("benchmark.experiment.models.checked_request", lambda request: request)
    monkeypatch.setattr("benchmark.experiment.lightning_cli.SceneStore.open", lambda path: store)
    monkeypatch.setattr("benchmark.sweep.local_engine.LocalEngine.run", run)
    return cells


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the published records, which is read in their place."""
    copy = tmp_path / "published"
    records = copy / "records" / "miniature"
    shutil.copytree(PUBLISHED / "records" / "miniature", records)
    monkeypatch.setattr("benchmark.sweep.cell_states.PUBLISHED", copy)
    return records


def of_the_sweep(published: Path, method: str, seed: int) -> Path:
    """Find the record of a row after complete training with its own settings."""
    records, _ = search_records([published])
    for record in records:
        manifest = record.manifest
        own = manifest.protocol.name == "standard" and not manifest.overrides
        if own and (manifest.variant, manifest.seed) == (method, seed):
            return record.path
    raise LookupError(method)


def test_what_is_published_is_not_run_again_and_gives_the_published_table(
    started: list[Cell], tmp_path: Path
) -> None:
    assert main(["sweep", "miniature", "--runs", str(tmp_path / "runs")]) == 0
    assert started == []
    for suffix in ("md", "csv", "tex"):
        name = f"miniature.{suffix}"
        ours = (tmp_path / "leaderboards" / name).read_bytes()
        assert ours == (PUBLISHED / "leaderboards" / name).read_bytes()


def test_of_a_record_that_is_missing_exactly_that_cell_runs(
    started: list[Cell], published: Path, tmp_path: Path
) -> None:
    lost = of_the_sweep(published, "magic", 1)
    shutil.rmtree(lost)
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "miniature", "--runs", str(tmp_path / "runs")])
    assert ended.value.code == 3, "nothing has run it"
    (cell,) = started
    assert f"magic-{cell.name}" == lost.name


def test_a_damaged_record_is_no_record(
    started: list[Cell], published: Path, tmp_path: Path
) -> None:
    damaged = of_the_sweep(published, "sgma", 2)
    content = (damaged / "summary.npz").read_bytes()
    (damaged / "summary.npz").write_bytes(content[:-200])
    with pytest.raises(SystemExit):
        main(["sweep", "miniature", "--runs", str(tmp_path / "runs")])
    assert [f"sgma-{cell.name}" for cell in started] == [damaged.name]
