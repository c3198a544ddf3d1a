"""What `make publish` commits: a fresh clone's page shows what the run's own page shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.__main__ import main
from benchmark.records.groups import seed_groups
from benchmark.records.selection import PUBLISHED, select_records
from benchmark.report.payload import build_payload
from benchmark.report.references import references
from datamodules.miniature.registry import LICENCE
from tests.support.toy_report import toy_runs

SAMPLES = 100


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("benchmark.records.selection.PUBLISHED", tmp_path / "results" / "records")
    return toy_runs(tmp_path)


def label_pictures(run: Path, licence: str) -> None:
    path = run / "examples" / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"licence": licence}))


def only_board(runs: Path, name: str) -> dict[str, Any]:
    content = build_payload(runs / name, "toy", SAMPLES)
    assert content["remarks"] == []
    return content["datasets"][0]["boards"][0]


def test_a_published_run_shows_all_that_its_own_page_shows(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in ("0", "1"):
        label_pictures(runs / "alpha" / seed, LICENCE)
        assert main(["publish", "--run", str(runs / "alpha" / seed), "--pictures"]) == 0
    shutil.move(runs / "alpha", tmp_path / "alone" / "alpha")
    (tmp_path / "none").mkdir()
    own, published = only_board(tmp_path, "alone"), only_board(tmp_path, "none")
    (row,), (copy,) = own["rows"], published["rows"]
    assert row["training"] == copy["training"] and all(copy["training"])
    assert row["miou"] == copy["miou"] and row["counts"] == copy["counts"]
    assert own["gallery"] == published["gallery"] and len(published["gallery"]["scenes"]) == 1
    assert own["intervals"] == published["intervals"] and published["intervals"]["rows"]
    table = (tmp_path / "results" / "leaderboards" / "toy.csv").read_text()
    assert table.count("\n") == 2 and "alpha" in table, "the published rows, and no others"


@pytest.mark.parametrize("licence", ["CC BY 4.0", ""])
def test_pictures_of_other_than_generated_scenes_are_refused(
    runs: Path, tmp_path: Path, licence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs / "alpha" / "0"
    label_pictures(run, licence)
    assert main(["publish", "--run", str(run), "--pictures"]) == 2
    assert "generated" in capsys.readouterr().err and not (tmp_path / "results").exists()
    assert main(["publish", "--run", str(run)]) == 0
    assert not list((tmp_path / "results").rglob("*.jpg"))


def test_a_link_among_the_pictures_is_not_followed(runs: Path, tmp_path: Path) -> None:
    run, secret = runs / "alpha" / "0", tmp_path / "secret"
    label_pictures(run, LICENCE)
    secret.write_text("not of this run")
    (run / "examples" / "0" / "more.png").symlink_to(secret)
    assert main(["publish", "--run", str(run), "--pictures"]) == 0
    assert not list((tmp_path / "results").rglob("more.png"))


def test_every_published_row_of_a_method_leads_to_its_paper_and_ledger() -> None:
    for selection in select_records(PUBLISHED, [""]).values():
        for group in seed_groups(selection.records):
            found = references(group)
            ledger = (PUBLISHED.parents[1] / found["ledger"]).read_text(encoding="utf-8")
            assert group.manifest.variant in ledger
            if not group.manifest.control:
                # where no page of the paper is known, its code
                number = found["paper"].partition("org/")[2].removeprefix("abs/")
                assert (number or found["paper"]) in ledger and found["paper"]
