"""Rows of a network that sees one sensor: dashes where that is missing, and all else as before."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark.__main__ import main
from benchmark.analysis.bootstrap import check_paired, read_units
from benchmark.leaderboard.score_rows import ScoreRow
from benchmark.leaderboard.table import format_leaderboard
from benchmark.metrics.confusion import score_matrices
from benchmark.records.groups import seed_groups
from benchmark.records.record import read_record
from benchmark.records.reliability import write_reliability
from benchmark.records.selection import Skipped
from benchmark.report.payload import build_payload
from benchmark.tracking.wandb_summary import summary_metrics
from imss import read_leaderboard
from tests.support.tex import check_latex
from tests.support.toy_records import CONVENTION, seen_by, toy_record, toy_result
from tests.support.toy_trust import toy_damage, toy_reliability
from usererror import UserError

SEEN, UNSEEN = ("R", "R+D", "R+N", "R+D+N"), ("D", "N", "D+N")
SUMMARIES = ("Average", "Top-1", "Last-1")
BLIND = "toy_optical"
pytestmark = pytest.mark.usefixtures("no_published_records")


def fill(root: Path, blind: bool) -> Path:
    """Two methods and, of the highest scores, one that sees R alone."""
    for variant, skill in {"sgma": 0.6, "m3l": 0.5, **({BLIND: 0.95} if blind else {})}.items():
        for seed in (0, 1):
            result = toy_result(skill, seed)
            weather = {
                name: [f"weather={'sun' if name[-1] < '5' else 'fog'}"] for name in result.scenes
            }
            result = replace(
                seen_by(result, "R" if variant == BLIND else "RDN"), conditions=weather
            )
            record = toy_record(root / "runs", variant, seed, result)
            write_reliability(record, toy_reliability(record))
            cases = ("R", "D", "N", "R+D", "R+N", "D+N")
            about = {"group": "absence", "combinations": "missing"}
            toy_damage(record, "zero_normalised", ("absent",), cases, **about)
    return root / "runs"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """RUNS without and with the row of one sensor."""
    root = tmp_path_factory.mktemp("unseen")
    return {blind: fill(root / str(blind), blind) for blind in (False, True)}


def run(command: str, runs: Path, *words: str) -> int:
    return main([command, "--data", "toy", "--runs", str(runs), *words])


def cells(page: str, method: str) -> list[list[str]]:
    """Cells of all lines of a Markdown page that begin with a method."""
    lines = [line for line in page.splitlines() if line.startswith(f"| {method} ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_leaderboard(places: dict[bool, Path], capsys: pytest.CaptureFixture) -> None:
    tables = {}
    for blind, runs in places.items():
        capsys.readouterr()
        assert run("leaderboard", runs) == 0
        tables[blind] = pd.read_csv(runs.parent / "leaderboards" / "toy.csv")
    shown = capsys.readouterr().out
    table = tables[True].set_index("method")
    assert tables[True]["method"].tolist() == ["sgma", "m3l", BLIND], "without an Average, last"
    pd.testing.assert_frame_equal(tables[True].iloc[:2], tables[False])
    row: Any = table.loc[BLIND]
    assert row[[*SUMMARIES, *map("mIoU {}".format, UNSEEN)]].isna().all()
    assert row[[f"{name} subset" for name in ("Top-1", "Last-1")]].isna().all()
    assert row[[f"scenes {name}" for name in UNSEEN]].tolist() == [0, 0, 0]
    for name in SEEN:
        scores = []
        for seed in (0, 1):
            record = read_record(places[True] / BLIND / str(seed) / "record")
            matrix = sum(record.counts[record.subsets.index(name), 0])
            scores.append(100 * score_matrices(matrix[None], CONVENTION)[0].miou)
        assert row[f"mIoU {name}"] == pytest.approx(np.mean(scores), abs=6e-5)
        assert row[f"mIoU {name} std"] == pytest.approx(np.std(scores, ddof=1), abs=6e-5)
    folder = places[True].parent / "leaderboards"
    page = (folder / "toy.md").read_text()
    [line] = cells(page, BLIND)
    assert line[2:5] == ["-"] * 3 and line.count("-") == len(SUMMARIES) + len(UNSEEN)
    assert "()" not in page and "nan" not in page
    said = f"a dash where a network sees none of the sensors ({BLIND}), which leaves it without"
    assert said in page
    assert "fewer for subsets whose modalities some scenes lack" not in page
    assert "12 test scenes," in page
    check_latex((folder / "toy.tex").read_text())
    assert "nan" not in (folder / "toy.tex").read_text()
    # of the terminal
    [line] = [line for line in shown.splitlines() if line.startswith("> -")]
    assert line.split() == [">", "-", BLIND, "-", "-", "-", "2"]
    assert "fewer where some lack" not in shown
    for name in ("conditions", "classes", "reliability"):
        for end in ("csv", "md", "tex"):
            text = (folder / f"toy.{name}.{end}").read_text()
            assert not re.search(r"\bnan\b|\(\)", text), (name, end)
    conditions = pd.read_csv(folder / "toy.conditions.csv").set_index("method").loc[BLIND]
    assert conditions["Average"].isna().all() and conditions["mIoU R+D"].notna().all()
    trust = pd.read_csv(folder / "toy.reliability.csv").set_index(["method", "subset"]).loc[BLIND]
    assert trust.loc[["mean", *UNSEEN], "ECE"].isna().all()
    assert trust.loc[list(SEEN), "ECE"].notna().all()
    pd.testing.assert_frame_equal(
        read_leaderboard(places[True], "toy")[["method", "Average"]],
        tables[True][["method", "Average"]],
    )


def test_rows_of_scenes_without_a_sensor_keep_their_summaries(tmp_path: Path) -> None:
    """Five of twelve scenes lack R, and with them all its subsets: nothing to do with a network."""
    result = toy_result(0.6)
    has = np.arange(12) >= 5
    scored = np.array([has if "R" in name.split("+") else has | True for name in result.subsets])
    counts = [
        scene * scored[:, place, None, None, None, None]
        for place, scene in enumerate(result.counts)
    ]
    [group] = seed_groups(
        [toy_record(tmp_path, "sgma", 0, replace(result, counts=counts, scored=scored))]
    )
    row = ScoreRow.of_group(group)
    assert row.unseen == [] and row.summary.average == pytest.approx(row.miou.mean(1))
    [cell] = format_leaderboard([row])["Last-1"]
    assert cell.endswith(")")


def test_comparisons_show_what_both_see(
    places: dict[bool, Path], capsys: pytest.CaptureFixture
) -> None:
    found = {}
    for blind, runs in places.items():
        assert run("compare", runs, "--samples", "100") == 0
        found[blind] = pd.read_csv(runs.parent / "intervals" / "toy.csv")
    frame = found[True]
    both = frame[(frame["first"].str.contains(BLIND)) | (frame["second"].str.contains(BLIND))]
    rest = frame.drop(both.index).reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, found[False])
    without = {*SUMMARIES, "Average mF1", *map("mIoU {}".format, UNSEEN)}
    empty = both["measure"].isin(without)
    assert both.loc[empty, ["difference", "low", "high"]].isna().all(axis=None)
    assert both.loc[~empty, ["difference", "low", "high"]].notna().all(axis=None)
    assert set(both.loc[~empty, "measure"]) == set(map("mIoU {}".format, SEEN))
    page = (places[True].parent / "intervals" / "toy.md").read_text()
    assert "one of them has no score" in page and "nan" not in page
    assert "nan" not in capsys.readouterr().out


def test_other_pixels_are_still_refused(tmp_path: Path) -> None:
    records = []
    for variant, more in (("sgma", 0), (BLIND, 1)):
        result = seen_by(toy_result(0.6), "R" if more else "RDN")
        # a pixel more, of a subset that both see
        result.counts[0][-1, 0, 0, 0, 0] += more
        records.append(toy_record(tmp_path, variant, 0, result))
    skipped = Skipped()
    groups = seed_groups(records)
    for order in (groups, groups[::-1]):
        with pytest.raises(UserError, match="scored on other scenes, blocks or labels"):
            check_paired(read_units(order, skipped))
    check_paired(read_units(groups[:1], skipped))


def test_conventions_sensor_values_and_damage(
    places: dict[bool, Path], capsys: pytest.CaptureFixture
) -> None:
    runs = places[True]
    assert run("conventions", runs) == 0
    frame: Any = pd.read_csv(runs.parent / "conventions" / "toy.csv").set_index("method")
    assert frame.loc[BLIND, "value"].isna().all() and frame.loc[BLIND, "rank"].isna().all()
    own = frame.loc[["sgma", "m3l"]]
    assert set(own.loc[own["value"].notna(), "rank"]) == {1, 2}
    reasons = set(frame.loc[BLIND, "reason"])
    assert "the network sees none of D, N, D+N" in reasons
    capsys.readouterr()
    assert run("sensor-value", runs) == 0
    said = capsys.readouterr().out
    assert f"{BLIND} pvt_v2_b0, the network sees none of D, N, D+N" in said.replace("\n", " ")
    assert "no test scene has" not in said
    assert run("leaderboard", runs) == 0
    page = (runs.parent / "leaderboards" / "toy.robustness.md").read_text()
    lines = cells(page, BLIND)
    assert lines and "nan" not in page
    ranks = [cells(page, name)[0][1][-3:] for name in ("sgma", "m3l")]
    assert ranks == ["(1)", "(2)"] and lines[0][1] == "-"


def test_the_report_and_what_is_logged(places: dict[bool, Path], tmp_path: Path) -> None:
    payload = build_payload(places[True], "toy", samples=100)
    json.dumps(payload, allow_nan=False)
    [board] = payload["datasets"][0]["boards"]
    rows: dict[str, Any] = {row["method"]: row for row in board["rows"]}
    assert list(rows) == ["sgma", "m3l", BLIND]
    assert rows[BLIND]["summary"] == {name: [None, None] for name in SUMMARIES}
    place = board["subsets"].index("D")
    assert rows[BLIND]["scored"][0][place] == 0
    assert [seed[0][place] for seed in rows[BLIND]["miou"]] == [None, None]
    texts = {
        column["title"]: cell["text"]
        for column, cell in zip(board["columns"], rows[BLIND]["cells"], strict=True)
    }
    assert [texts[name] for name in (*SUMMARIES, *UNSEEN)] == ["-"] * 6
    assert texts["R"] != "-"
    measured = board["intervals"]["rows"]
    assert set(measured[rows[BLIND]["id"]]) == set(map("mIoU {}".format, SEEN))
    assert {*SUMMARIES, "mIoU D"} < set(measured[rows["sgma"]["id"]])
    ids = {(pair["first"], pair["second"]) for pair in board["intervals"]["pairs"]}
    assert ids == {(rows["sgma"]["id"], rows["m3l"]["id"])}, "the Averages that there are"
    record = read_record(places[True] / BLIND / "0" / "record")
    metrics = summary_metrics(record.scores())
    assert np.isnan([metrics[f"{name}_miou"] for name in ("average", "top1", "last1")]).all()
    assert {name for name in UNSEEN if np.isnan(metrics[f"miou_{name}"])} == set(UNSEEN)
