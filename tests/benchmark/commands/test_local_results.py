"""What a user's runs give stays out of what is committed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmark import choices
from benchmark.__main__ import main
from benchmark.leaderboard.write import update_leaderboard
from tests.support.toy_records import toy_record

ROOT = Path(__file__).resolve().parents[3]
COMMITTED = ("leaderboards/toy.md", "tables/sgma_I.csv", "complexity/toy.csv", "records/a")


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with committed tables, and two finished runs where `bench` leaves them."""
    shutil.copy(ROOT / ".gitignore", tmp_path)
    for name in COMMITTED:
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("committed\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all")
    monkeypatch.setattr(choices, "PUBLISHED", tmp_path / "results")
    monkeypatch.setattr("benchmark.records.selection.PUBLISHED", tmp_path / "results" / "records")
    monkeypatch.chdir(tmp_path)
    for method in ("alpha", "beta"):
        toy_record(Path("results/runs/toy"), method)
    return tmp_path


def test_tables_of_runs_leave_the_committed_ones_alone(checkout: Path) -> None:
    update_leaderboard(Path("results/runs"), "toy")
    for verb in ("leaderboard", "sensor-value", "compare", "conventions", "report"):
        assert main([verb, "--data", "toy"]) == 0
    assert main(["tables"]) == 0
    assert git(checkout, "status", "--porcelain") == ""
    for name in ("leaderboards/toy.md", "tables/sgma_I.csv", "intervals/toy.csv"):
        assert (checkout / "results" / "runs" / name).exists()


def test_tables_of_runs_elsewhere_lie_beside_them(checkout: Path) -> None:
    shutil.move("results/runs", "other/runs")
    assert main(["leaderboard", "--runs", "other/runs"]) == 0
    assert Path("other/leaderboards/toy.md").exists()
