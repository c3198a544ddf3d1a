"""Rows of protocols that score some subsets: their own table, without an Average, and no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmark.__main__ import main
from tests.support.toy_records import PROTOCOL, toy_record, toy_result

SCORED = ("D", "R+D")
OF_ALL = {"Average", "Top-1", "Last-1", "OA full", "OA all labels full"}
pytestmark = pytest.mark.usefixtures("no_published_records")


def contest(runs: Path, variant: str, skill: float, seed: int = 0) -> None:
    result = toy_result(skill, seed)
    places = [result.subsets.index(name) for name in SCORED]
    counts = [scene[places] for scene in result.counts]
    result = replace(result, subsets=SCORED, counts=counts, scored=result.scored[places])
    protocol = PROTOCOL.model_copy(update={"name": "heights"})
    changes = {"group": f"{variant}-contest", "identity": f"{variant}-{seed}-contest"}
    config = {"evaluation": {"subsets": list(SCORED)}}
    folder = runs / "contest"
    toy_record(folder, variant, seed, result, protocol=protocol, config=config, **changes)


def whole(runs: Path) -> None:
    for seed in (0, 1):
        toy_record(runs / "whole", "sgma", seed, toy_result(0.6, seed))


def run(command: str, runs: Path, *words: str) -> int:
    return main([command, "--data", "toy", "--runs", str(runs), *words])


def test_what_a_contest_scores_is_in_a_table_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    alone, both = tmp_path / "alone" / "runs", tmp_path / "both" / "runs"
    for runs in (alone, both):
        whole(runs)
    for seed in (0, 1):
        contest(both, "sgma", 0.6, seed)
        contest(both, "m3l", 0.8, seed)
    for runs in (alone, both):
        assert run("leaderboard", runs) == 0
    old, new = (folder / "leaderboards" for folder in (alone.parent, both.parent))
    for suffix in ("csv", "md", "tex"):
        assert (old / f"toy.{suffix}").read_text() == (new / f"toy.{suffix}").read_text()
    table = pd.read_csv(new / "toy.contests.csv")
    assert not OF_ALL & set(table.columns)
    assert {c for c in table.columns if c.startswith("mIoU ")} == {
        *("mIoU D", "mIoU D std", "mIoU R+D", "mIoU R+D std")
    }
    assert table["method"].tolist() == ["m3l", "sgma"]
    # the same counts as in the whole row
    row = pd.read_csv(new / "toy.csv").iloc[0]
    for name in SCORED:
        assert table.loc[1, f"mIoU {name}"] == row[f"mIoU {name}"]
    page = (new / "toy.contests.md").read_text()
    assert "## Protocol heights" in page and "there is no Average" in page
    assert "Average |" not in page and "Top-1" not in page
    shown = capsys.readouterr().out
    block = shown[shown.index("protocol heights") :]
    assert "R+D" in block and "Average" not in block


@pytest.mark.parametrize("command", ["sensor-value", "conventions", "compare"])
def test_answers_about_all_subsets_do_not_read_them(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    runs = tmp_path / "runs"
    contest(runs, "sgma", 0.6)
    assert run(command, runs) != 0
    shown = capsys.readouterr()
    assert "1 records of toy whose protocol names the subsets" in shown.out
    assert "'toy' below" in (message := shown.err) and "all subsets" in message
    assert message.strip().count("\n") == 0


def test_a_dataset_with_nothing_else_has_its_table_and_a_report(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    contest(runs, "sgma", 0.6)
    assert run("leaderboard", runs, "--wide") == 0
    names = {path.name for path in (tmp_path / "leaderboards").iterdir()}
    assert names == {"toy.contests.csv", "toy.contests.md", "toy.contests.tex"}
