"""Rows that only their configuration tells apart, and one dataset under two names."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.leaderboard.score_rows import leaderboard_rows
from benchmark.leaderboard.table import format_leaderboard, leaderboard_frame
from benchmark.records.groups import seed_groups
from benchmark.records.selection import select_records
from tests.support.toy_records import toy_record


@pytest.fixture(autouse=True)
def nothing_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("benchmark.records.selection.PUBLISHED", tmp_path / "published")


def test_one_dataset_under_two_names_has_records_of_both(tmp_path: Path) -> None:
    for name in ("town", "copy"):
        toy_record(tmp_path / name, "sgma", identity="same", data=name)
    selections = select_records(tmp_path, [])
    assert {name: len(choice.records) for name, choice in selections.items()} == {
        "copy": 1,
        "town": 1,
    }


def test_overrides_that_change_no_number_are_not_shown(tmp_path: Path) -> None:
    quiet = ("--trainer.enable_progress_bar", "false", "--data.num_workers=0")
    quiet += ("--seed_everything", "3", "--trainer.logger.save_dir", "x")
    toy_record(tmp_path, "sgma", overrides=quiet)
    rows = leaderboard_rows(seed_groups(select_records(tmp_path, [])["toy"].records))
    assert "overrides" not in format_leaderboard(rows)
    assert leaderboard_frame(rows)["overrides"].tolist() == [""]


def test_every_row_can_be_told_from_the_others(tmp_path: Path) -> None:
    """By what was typed, or where that is equal by the group."""
    for number, group in enumerate(("a", "b", "c")):
        words = ("--model.width", "8") if group == "c" else ()
        toy_record(tmp_path / group, "sgma", number, group=group * 16, overrides=words)
    rows = leaderboard_rows(seed_groups(select_records(tmp_path, [])["toy"].records))
    told = {"[aaaaaa]", "[bbbbbb]", "model.width=8"}
    assert set(format_leaderboard(rows)["overrides"]) == told
    assert set(leaderboard_frame(rows)["overrides"]) == told
