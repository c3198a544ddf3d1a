"""What `bench` asks for and finds before it trains."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.__main__ import main
from benchmark.choices import PUBLISHED
from benchmark.records.record import is_whole


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["SEED=0,1", "FORCE=1"], "FORCE=1 is for one SEED"),
        (["SEED=,"], "SEED is"),
        (["SEED=1,x"], "SEED is '1,x'"),
    ],
)
def test_seeds_that_are_none_or_too_many_are_one_line(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == 2
    assert expected in capsys.readouterr().err


def test_a_damaged_record_is_no_finished_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record"
    assert not is_whole(record)
    shutil.copytree(next((PUBLISHED / "records" / "miniature").iterdir()), record)
    assert is_whole(record) and not capsys.readouterr().out
    with (record / "summary.npz").open("r+b") as stream:
        stream.truncate(200)
    assert not is_whole(record) and "is made again" in capsys.readouterr().out
