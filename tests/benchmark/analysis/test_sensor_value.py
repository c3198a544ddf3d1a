"""Values of sensors: the page and the CSV of a folder of records, and what is left out of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.__main__ import main
from benchmark.analysis.sensor_value import (
    break_even_table,
    majority_baseline,
    sensor_games,
    subset_games,
    write_sensor_values,
)
from benchmark.analysis.shapley import expected_score, shapley_values
from benchmark.metrics.confusion import ClassCounts
from benchmark.records.groups import comparable_groups, seed_groups
from benchmark.records.selection import RecordSelection, Skipped
from tests.benchmark.leaderboard.test_leaderboard import record
from tests.support.toy_records import PROTOCOL, toy_record, toy_result

ROW = {"R": 50.0, "D": 20.0, "R+D": 60.0}


def test_games_are_the_scores_of_the_subsets(tmp_path: Path) -> None:
    entry = toy_record(tmp_path, "sgma")
    game = subset_games(entry)
    assert game.shape == (4, 8) and not game[:, 0].any()
    scores = entry.scores()
    assert game[0, 0b101] == pytest.approx(100 * scores["R+N"].miou)
    assert game[1:, 0b111] == pytest.approx(100 * np.array(scores["R+D+N"].iou))
    assert shapley_values(game)[1:].mean(0) == pytest.approx(shapley_values(game)[0]), (
        "the worth of a mean is the mean of the worths"
    )
    assert seed_groups([entry])[0].classes == ["ground", "building", "tree"]


def test_by_hand() -> None:
    game = subset_games(record(ROW))
    assert shapley_values(game)[0] == pytest.approx([(50 + 40) / 2, (20 + 10) / 2], abs=0.01)
    # sum over the non-empty subsets, divided by the chance that one is left
    assert expected_score(game, 0.1)[0] == pytest.approx((0.81 * 60 + 0.09 * 70) / 0.99, abs=0.01)


def test_the_empty_set_may_score_what_the_most_frequent_class_does() -> None:
    counts = ClassCounts(*np.array([[[1, 2]], [[70, 30]], [[3, 4]]]))
    assert np.array(majority_baseline(counts)).tolist() == [[70, 0], [70, 30], [100, 0]]
    entry = record(ROW)  # two classes of 1e8 pixels each: IoU 1/2 and 0
    assert subset_games(entry, "majority")[:, 0].tolist() == [25, 50, 0]
    assert subset_games(entry, "majority")[:, 1:].tolist() == subset_games(entry)[:, 1:].tolist()


def test_classes_that_the_convention_leaves_out_have_no_worth(tmp_path: Path) -> None:
    result = toy_result()
    for counts in result.counts:
        counts[..., 2, :] = 0  # no tree
    game = subset_games(toy_record(tmp_path, "sgma", result=result))
    assert np.isnan(game[3, 1:]).all() and not np.isnan(game[:3]).any()


def test_rows_without_all_scores_are_named_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    unscored = record(ROW, group="unscored")
    unscored.counts[1:] = 0
    records = [record(ROW), unscored, record({"R": 3.0, "R+D": 4.0}, group="partial")]
    skipped = Skipped()
    kept = sensor_games(seed_groups(records), skipped)
    assert [method.group.method for method in kept] == ["g"] and len(skipped) == 2
    said = capsys.readouterr().out
    assert "unscored" in said and "modalities of D, R+D" in said
    assert "partial" in said and "not all subsets" in said


def test_files(tmp_path: Path) -> None:
    records = [record(ROW, seed, "one") for seed in (0, 1)]
    records += [record({"R": 40.0, "D": 40.0, "R+D": 50.0}, group="two")]
    paths, tables = write_sensor_values(tmp_path, "toy", RecordSelection(records))
    assert list(tables)[0] == "toy, standard: Shapley values of mIoU in points"
    assert [path.name for path in paths] == [
        "toy.csv",
        "toy.curve.csv",
        "toy.crossings.csv",
        "toy.md",
        "toy.tex",
    ]
    table = pd.read_csv(paths[0])
    line = table[
        (table["method"] == "one") & (table["measure"] == "shapley") & (table["class"] == "mIoU")
    ]
    assert line["value"].tolist() == pytest.approx([45, 15], abs=0.01) and line["std"].tolist() == [
        0,
        0,
    ]
    equity = table[(table["measure"] == "equity") & (table["class"] == "mIoU")]
    equity = equity.set_index(["method", "subject"])["value"]
    # 45 and 15; 25 and 25
    expected = {"spread": (30, 0), "deviation": (15, 0)}
    for subject, values in expected.items():
        assert equity["one", subject] == pytest.approx(values[0], abs=0.02)
        assert equity["two", subject] == pytest.approx(values[1], abs=0.02)
    sums = table[(table["measure"] == "expected, all lost counts 0") & (table["class"] == "mIoU")]
    given = table[(table["measure"] == "expected") & (table["class"] == "mIoU")]
    kept = [1 - p**2 for p in (0.05, 0.1, 0.2)] * 2
    assert sums["value"].to_numpy() == pytest.approx(given["value"].to_numpy() * kept, abs=1e-3)
    curve = pd.read_csv(paths[1])
    assert len(curve) == 2 * 101 and curve["expected mIoU"].iloc[0] == pytest.approx(60, abs=0.01)
    crossing = pd.read_csv(paths[2])
    # 60 (1 - p) + 70 p = 50 (1 - p) + 80 p
    assert crossing[["first", "second"]].values.tolist() == [["one pvt_v2_b0", "two pvt_v2_b0"]]
    assert crossing["p"].tolist() == pytest.approx([0.5], abs=1e-3)
    text = paths[3].read_text()
    assert (
        "| one pvt_v2_b0 | 45.00 +- 0.00 | 15.00 +- 0.00 | 60.00 +- 0.00 "
        # 45 - 15, and the distance of both from their mean
        "| 30.00 +- 0.00 | 15.00 +- 0.00 | -10.00 +- 0.00 | 2 |" in text
    )
    assert "The empty set scores 0;" in text and "given that at least one is left" in text


def test_what_training_teaches_stands_where_it_was_measured(tmp_path: Path) -> None:
    records = [toy_record(tmp_path, "two")]
    for seed in (0, 1):
        shares = {"rgb": 0.5 + 0.1 * seed, "dsm": 0.3 - 0.1 * seed, "nir": 0.2}
        records.append(toy_record(tmp_path, "one", seed, learning=shares))
    paths, tables = write_sensor_values(tmp_path / "out", "toy", RecordSelection(records))
    frame = pd.read_csv(paths[0])
    lines = frame[frame["measure"] == "learning"]
    assert set(lines["method"]) == {"one"} and lines["subject"].tolist() == ["R", "D", "N"]
    assert lines["value"].tolist() == pytest.approx([0.55, 0.25, 0.2])
    table = next(iter(tables.values())).set_index("method")
    assert table["learns R"].tolist() == ["0.55 +- 0.07", "-"]
    assert "share of the norms of the gradient" in paths[3].read_text()
    # no column, no note
    paths, tables = write_sensor_values(tmp_path / "out", "toy", RecordSelection(records[:1]))
    assert not any("learns" in name for name in next(iter(tables.values())))
    assert "gradient" not in paths[3].read_text()


def test_rows_of_one_name_are_told_apart_and_protocols_are_not_ranked_together() -> None:
    records = [record(ROW), record(ROW, group="h123456", variant="g")]
    records += [record(ROW, group="k", protocol=PROTOCOL.model_copy(update={"name": "other"}))]
    narrower = replace(record(ROW).convention, averaged=(0,))
    records += [record(ROW, group="m", convention=narrower)]
    apart = comparable_groups(seed_groups(records))
    assert {title: [row.label for row in rows] for title, rows in apart.items()} == {
        "other": ["k pvt_v2_b0"],
        "standard (1)": ["g pvt_v2_b0 [g]", "g pvt_v2_b0 [h12345]"],
        "standard (2)": ["m pvt_v2_b0"],
    }
    assert break_even_table(sensor_games(apart["standard (1)"], Skipped())).empty


@pytest.mark.usefixtures("no_published_records")
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sensor-value", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "worth")]
    (tmp_path / "runs").mkdir()
    assert main(words) == 2
    assert "make bench" in capsys.readouterr().err
    toy_record(tmp_path / "runs", "sgma")
    toy_record(tmp_path / "runs", "broken")
    damaged = tmp_path / "runs" / "broken" / "0" / "record" / "summary.npz"
    damaged.write_bytes(damaged.read_bytes()[:300])
    toy_record(tmp_path / "runs", "elsewhere", fingerprint="e" * 64, created="2025-01-01")
    assert main([*words, "--data", "toy"]) == 0
    said = capsys.readouterr().out
    assert (
        "broken" in said
        and "is damaged" in said
        and "1 records of toy with another fingerprint" in said
    )
    assert set(pd.read_csv(tmp_path / "worth" / "toy.csv")["method"]) == {"sgma"}
    assert main([*words, "--data", "tot"]) == 2
    assert "there are records of: toy" in capsys.readouterr().err
