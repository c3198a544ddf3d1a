"""Commands on terminals that cannot show everything, and must not obey anything."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd
import pytest

from benchmark.__main__ import main
from benchmark.formats.markdown import print_table
from benchmark.formats.terminal import accept_any_character
from tests.support.toy_records import toy_record, toy_result


@pytest.fixture(params=["ascii", "latin-1", "utf-8"])
def screen(request: pytest.FixtureRequest) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=request.param)


def shown(screen: io.TextIOWrapper) -> str:
    screen.flush()
    return screen.buffer.getvalue().decode(screen.encoding)  # type: ignore[attr-defined]


def test_a_table_stays_a_table(screen: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    # in the test itself: pytest sets its own between a fixture and a test
    monkeypatch.setattr("sys.stdout", screen)
    accept_any_character()
    names = ["Stra\u00dfe", "roof", "na\u00efve", "[/x]"]
    print_table("\u00fcber \u00b1", pd.DataFrame({"class": names, "IoU": "1.0 \u00b1 0.1"}))
    rows = [line for line in shown(screen).splitlines() if "1.0" in line]
    assert len({len(row) for row in rows}) == 1 and len(rows) == len(names)
    scores = "1.0 +- 0.1" if screen.encoding == "ascii" else "1.0 \u00b1 0.1"
    assert all(scores in row for row in rows) and "[/x]" in rows[-1]


@pytest.mark.usefixtures("no_published_records")
def test_a_leaderboard_of_any_name(
    screen: io.TextIOWrapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", screen)
    runs, data = tmp_path / "runs", "\u5efa\u7269 [x]"
    for seed in (0, 1):
        toy_record(runs, "sgma", seed, toy_result(scenes=2, blocks=1), data=data)
    (runs / "sgma" / "2" / "record").mkdir(parents=True)
    (runs / "sgma" / "2" / "record" / "manifest.json").write_text('{"data": "\\u001b[2J"}')
    words = ["leaderboard", "--runs", str(runs), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert main(["compare", "--runs", str(runs), "--data", "no\x1b[2Jne"]) == 2
    text = shown(screen)
    assert "[x]" in text and "\x1b" not in text
    assert re.search(r"\u5efa\u7269" if screen.encoding == "utf-8" else r"\\u5efa\\u7269", text)
    assert (tmp_path / "out" / f"{data}.md").exists()
