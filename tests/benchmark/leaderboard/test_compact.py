"""The leaderboard on 80 columns and on a page: ranks, marks, names, and what is best."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmark.__main__ import main
from benchmark.leaderboard.compact import latex_columns, terminal_tables
from benchmark.leaderboard.score_rows import ScoreRow, leaderboard_rows
from benchmark.leaderboard.write import update_leaderboard
from benchmark.metrics.summaries import format_mean_std
from benchmark.records.groups import seed_groups
from tests.support.tex import check_latex
from tests.support.toy_records import PROTOCOL, toy_record, toy_result

LONG = ("--trainer.max_steps", "4", "--data.window", "64", "--model.init_args.optimizer.lr=1e-3")


@pytest.fixture
def rows(no_published_records: None, tmp_path: Path) -> list[ScoreRow]:
    """Two seeds of two methods, one with another encoder, one with overrides, another protocol."""
    records = []
    for place, method in enumerate(("sgma", "muss_dropout")):
        for seed in (0, 1):
            result = toy_result(0.6 + 0.2 * place, seed)
            record = toy_record(tmp_path / "runs", method, seed, result, control=bool(place))
            records.append(record)
    other = {"backbone": "resnet50", "group": "other-encoder", "identity": "b"}
    changed = {"overrides": LONG, "group": "changed", "identity": "c"}
    apart = {"protocol": PROTOCOL.model_copy(update={"name": "paper"}), "group": "d"}
    for number, changes in enumerate((other, changed, {**apart, "identity": "d"}), start=5):
        records.append(toy_record(tmp_path / "runs", "sgma", number, toy_result(0.3), **changes))
    return leaderboard_rows(seed_groups(records))


def test_ranks_count_rows_of_one_protocol(rows: list[ScoreRow]) -> None:
    tables = terminal_tables(rows, own=["changed"])
    assert list(tables) == ["paper", "standard"]
    assert tables["paper"]["#"].tolist() == ["1"]
    ranked = tables["standard"]
    assert [rank.lstrip("> ") for rank in ranked["#"]] == ["1", "2", "3", "4"]
    assert ranked["method"][0] == "muss_dropout (control)"
    (own,) = ranked[ranked["#"].str.startswith(">")].itertuples()
    assert "data.window=64" in own.method
    assert ranked["method"].str.contains("resnet50").sum() == 1, "tells it from the other encoder"


@pytest.mark.usefixtures("no_published_records")
def test_the_end_of_a_run_shows_its_row_and_the_best_of_each_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Twenty rows by skill: methods of users, published ones with a variant, and baselines."""
    methods = [f"mine{number}" for number in range(6)]
    methods += ["sgma", "sgma_additive", "m3l", "imlt", "magic", "muss", "shaspec"]
    methods += ["muss_dropout", "control", "unet_dropout", "cmnext_dropout", "stitchfusion_dropout"]
    methods += ["fpn_dropout", "last"]
    for place, method in enumerate(methods):
        control = method in methods[13:19]
        result = toy_result(0.9 - 0.04 * place, place)
        toy_record(tmp_path / "runs", method, 0, result, control=control)
    update_leaderboard(tmp_path / "runs", "toy", own="last-group")
    said = capsys.readouterr().out
    lines = re.findall(r"^ *(> )?(\d+) +(\w+) .* 1 *$", said, re.MULTILINE)
    shown = [method for _, _, method in lines]
    assert shown == [
        *methods[:4],
        *("sgma", "m3l", "imlt", "magic"),
        # of the library's networks the best alone
        *("muss_dropout", "control", "unet_dropout", "cmnext_dropout"),
        "last",
    ]
    assert [int(rank) for _, rank, _ in lines] == [methods.index(name) + 1 for name in shown]
    assert [mark for mark, _, _ in lines if mark] == ["> "] and lines[-1][0]
    assert "7 rows are folded here; all 20: make leaderboard DATA=toy, or the CSV" in said
    table = (tmp_path / "leaderboards" / "toy.csv").read_text().splitlines()
    assert len(table) == 1 + len(methods)
    assert main(["leaderboard", "--runs", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().out
    assert "folded" not in said and all(f" {name} " in said for name in methods)


@pytest.mark.parametrize("modalities", ["RDN", "RDEL"])
@pytest.mark.usefixtures("no_published_records")
def test_the_terminal_shows_eighty_columns(
    modalities: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for seed in (0, 1):
        result = toy_result(modalities=modalities, seed=seed)
        changes = {"overrides": LONG, "modalities": dict(zip(modalities, modalities, strict=True))}
        toy_record(tmp_path / "runs", "control_dropout", seed, result, **changes)
    assert main(["leaderboard", "--runs", str(tmp_path / "runs")]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if "Leaderboard:" not in line]
    assert max(map(len, table)) <= 80 and any(line.startswith("> 1") for line in table)
    shown = "".join("".join(table).split())
    assert "optimizer.lr=1e-3" in shown and "±" in shown, "nothing is cut off"
    assert main(["leaderboard", "--runs", str(tmp_path / "runs"), "--wide"]) == 0
    assert "+".join(modalities) in capsys.readouterr().out


def test_latex_names_the_best_and_leaves_out_what_all_rows_share(rows: list[ScoreRow]) -> None:
    table, best, note = latex_columns(rows)
    assert set(table["method"]) == {
        *("SGMA pvt_v2_b0", "SGMA resnet50", "SGMA pvt_v2_b0 [1]", "SGMA"),
        "MuSS, random subsets (control)",
    }
    assert "backbone" not in table and "protocol" in table and "overrides" not in table
    assert "[1] with trainer.max_steps=4 data.window=64" in note
    for name in ("Average", "R", "R+D+N"):
        values = table[name].str.split(" ").str[0].astype(float)
        for mask in (
            table["protocol"].str.startswith("paper"),
            ~table["protocol"].str.startswith("paper"),
        ):
            assert (best[name][mask] == (values[mask] == values[mask].max())).all()


def test_of_many_subsets_a_page_has_single_sensors_and_all(tmp_path: Path) -> None:
    letters = dict(zip("RDEL", "RDEL", strict=True))
    result = toy_result(modalities="RDEL")
    record = toy_record(tmp_path, "sgma", result=result, modalities=letters)
    table, _, note = latex_columns(leaderboard_rows(seed_groups([record])))
    assert [name for name in table if re.fullmatch(r"[RDEL+]+", name)] == [*"RDEL", "R+D+E+L"]
    assert "n 1" in note and "n" not in table


def test_latex_is_written_with_bold_cells_and_optional_notes(
    rows: list[ScoreRow], tmp_path: Path
) -> None:
    assert main(["leaderboard", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "toy.tex").read_text()
    check_latex(text)
    assert text.index(r"\ifdefined\imssnonotes\else") < text.index("mIoU in per cent")
    assert text.count(r"\textbf{") >= 2 * 10


def test_zero_has_no_sign() -> None:
    assert format_mean_std(-0.001, 0.0) == "0.00 +- 0.00"
    assert format_mean_std(-0.01, np.nan) == "-0.01"
