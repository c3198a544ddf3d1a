"""`make refresh`: what the comments of a table mean, and what the figures of its rows are."""

from __future__ import annotations

import pytest

from benchmark.metrics.confusion import Scores
from tools import refresh
from tools.refresh import TableRequest, full_set_drop, markdown_table, missing_f1, parse_request

WITHOUT_RECORDS = ("costs", "catalogue", "methods", "weights")


def scores(miou: float, f1: float) -> Scores:
    return Scores(miou, f1, 0.0, 0.0, (), (), 1)


def test_request_names_rows_and_their_labels() -> None:
    assert parse_request(" leaderboard ign ") == TableRequest("leaderboard", "ign", {})
    assert parse_request(" f1 toy a b ").rows == {"a": "a", "b": "b"}
    assert parse_request(" demo toy\na: *A (baseline)*\nb: B\n").rows == {
        "a": "*A (baseline)*",
        "b": "B",
    }


def test_markdown_table() -> None:
    assert markdown_table(["row", "x"], [["a", "1"]]) == "| row | x |\n|---|---:|\n| a | 1 |"


def test_figures_of_a_seed() -> None:
    by_subset = {"R": scores(0.25, 0.5), "D": scores(0.5, 0.25), "R+D": scores(0.75, 1.0)}
    assert full_set_drop(by_subset) == 50
    assert missing_f1(by_subset) == 37.5


def test_check_names_the_stale_file_and_writes_nothing(tmp_path, monkeypatch, capsys) -> None:
    text = "# Toy\n\n<!-- table: toy one -->\n<!-- end -->\n"
    (tmp_path / "README.md").write_text(text)
    monkeypatch.setattr(refresh, "ROOT", tmp_path)
    monkeypatch.setattr(refresh, "rebuilt_files", lambda directory: {tmp_path / "a.csv": "1\n"})
    monkeypatch.setitem(refresh.KINDS, "toy", lambda request: f"| {request.data} |")
    monkeypatch.setattr("sys.argv", ["refresh", "--check"])
    assert refresh.main() == 1
    assert capsys.readouterr().out == "stale: a.csv\nstale: README.md\n"
    assert (tmp_path / "README.md").read_text() == text and not (tmp_path / "a.csv").exists()

    monkeypatch.setattr("sys.argv", ["refresh"])
    assert refresh.main() == 0
    assert "| one |" in (tmp_path / "README.md").read_text()
    monkeypatch.setattr("sys.argv", ["refresh", "--check"])
    assert refresh.main() == 0


def test_a_row_goes_by_its_name_if_nothing_else_was_set(tmp_path, monkeypatch) -> None:
    table = """| method | Average | protocol | overrides |
|---|---:|---|---|
| a (control) | 9 | standard, best | trainer.max_steps=5 |
| a (control) | 7 | standard, best |  |
| b\\|c | 6 | standard, best |  |
| a (control) | 5 | standard, best | data.window=8 |
| a (control) | 4 | incomplete_60, best |  |

mIoU"""
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "leaderboards" / "toy.md").write_text(table)
    lines = "method,Average,protocol,overrides\na,9,standard,trainer.max_steps=5\n"
    lines += "a,7,standard,\na,4,incomplete_60,\n"
    (tmp_path / "leaderboards" / "toy.csv").write_text(lines)
    monkeypatch.setattr(refresh, "RESULTS", tmp_path)
    copied = refresh.copied_table("leaderboards", parse_request("leaderboard toy b\\|c a"))
    assert copied.splitlines() == [
        "| method | Average | protocol |",
        "|---|---:|---|",
        "| b\\|c | 6 | standard, best |",
        "| a (control) | 7 | standard, best |",
    ]
    assert refresh.leaderboard_frame("toy")["Average"].to_dict() == {"a": 7}


def test_longer_training_stands_beside_the_short_one(tmp_path, monkeypatch) -> None:
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "leaderboards" / "toy.csv").write_text(
        "method,Average,Top-1 subset,mIoU R,mIoU R+D,protocol,overrides\n"
        # the best subset of a row need not be the full one
        "a,50,R,62,60,standard,\nb,55,R+D,50,65,standard,\n"
        "a,66.04,R+D,60,72.04,standard,trainer.max_steps=1500\n"
        "b,58,R+D,50,70,standard,trainer.max_steps=1500\n"
        "b,1,R+D,1,1,standard,data.window=8\nb,2,R,2,2,incomplete,\n"
    )
    monkeypatch.setattr(refresh, "RESULTS", tmp_path)
    table = refresh.longer_table(parse_request("longer toy b a"))
    # by the mean after the longer training
    assert [line.strip("| ").split(" | ") for line in table.splitlines()[2:]] == [
        ["a", "50.0", "66.0", "60.0", "72.0"],
        ["b", "55.0", "58.0", "65.0", "70.0"],
    ]


@pytest.mark.parametrize("path", refresh.documents(), ids=lambda path: path.parent.name)
def test_every_table_of_a_document_can_be_asked_for(path) -> None:
    for comment in refresh.MARKED.findall(path.read_text(encoding="utf-8")):
        request = parse_request(comment)
        assert request.kind in refresh.KINDS
        assert (
            refresh.RESULTS / "records" / request.data
        ).is_dir() or request.kind in WITHOUT_RECORDS
