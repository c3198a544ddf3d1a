"""Damage and calibration in the report: the payload against the counts, the page against both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.metrics.reliability import UNIT
from benchmark.records.damage import read_damage
from benchmark.records.record import read_record
from benchmark.records.reliability import read_reliability
from benchmark.report.payload import build_payload
from tests.support.browser import PROGRAM, Page
from tests.support.report_page import go, phone, text
from tests.support.toy_report import METHODS, toy_runs

browser_only = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")


@pytest.fixture
def board(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr("benchmark.records.selection.PUBLISHED", tmp_path / "no published records")
    content = build_payload(runs, "", 0)
    (only,) = content["datasets"][0]["boards"]
    return only


def rows_of(board: dict[str, Any], part: str) -> dict[str, Any]:
    """What a part says of each method that it knows."""
    ids = {row["id"]: row["method"] for row in board["rows"]}
    return {ids[group]: found for group, found in board[part]["rows"].items()}


def test_scores_under_damage_are_those_of_the_counts(board: dict[str, Any], runs: Path) -> None:
    found = rows_of(board, "damage")
    assert found.keys() == {"alpha", "beta"}, "gamma was not scored under damage"
    for method, row in found.items():
        for place, seed in enumerate(METHODS[method]):
            read = {
                one.damage.name: one
                for one in read_damage(read_record(runs / method / str(seed) / "record"))
            }
            assert read.keys() == row["scores"].keys() == board["damage"]["scenarios"].keys()
            for name, one in read.items():
                clean, damaged = one.miou()
                about = board["damage"]["scenarios"][name]
                assert tuple(about["sets"]) == one.sets
                assert tuple(about["severities"]) == one.damage.severities
                assert row["clean"][place] == pytest.approx(clean, abs=1e-4)
                shown = np.array(row["scores"][name])[..., place]
                assert shown.shape == damaged.T.shape
                np.testing.assert_allclose(shown, damaged.T, atol=1e-4)


def test_calibration_is_that_of_the_counts(board: dict[str, Any], runs: Path) -> None:
    found = rows_of(board, "calibration")
    assert found.keys() == {"alpha", "beta"}
    names = [one["name"] for one in board["calibration"]["measures"]]
    for method, row in found.items():
        counts = [
            read_reliability(read_record(runs / method / str(seed) / "record"))
            for seed in METHODS[method]
        ]
        for subset, columns in enumerate(row["bins"]):
            errors, briers, changes = [], [], []
            pixels = hits = confidence = np.zeros(15)
            for one in counts:
                assert one is not None
                n, h, c = (part[subset] for part in (one.pixels, one.hits, one.confidence * UNIT))
                errors.append(100 * np.abs(h - c).sum() / n.sum())
                briers.append(one.brier[subset] * UNIT / n.sum())
                changes.append(100 * one.changed[subset].sum() / n.sum())
                pixels, hits, confidence = pixels + n, hits + h, confidence + c
            for name, values in {"ECE": errors, "Brier": briers, "label changes": changes}.items():
                # the mean over subsets comes first
                mean, std = row["scores"][names.index(name)][1 + subset]
                assert mean == pytest.approx(np.mean(values), abs=1e-5)
                assert std == pytest.approx(np.std(values, ddof=1), abs=1e-5)
            share, accuracy, sure = (np.array(part, float) for part in columns)
            np.testing.assert_allclose(share, pixels / pixels.sum(), atol=1e-4)
            there = pixels > 0
            assert np.isnan(accuracy[~there]).all() and np.isnan(sure[~there]).all()
            np.testing.assert_allclose(accuracy[there], (hits / pixels.clip(1))[there], atol=1e-4)
            np.testing.assert_allclose(sure[there], (confidence / pixels.clip(1))[there], atol=1e-4)


def test_a_damaged_file_is_named_and_the_rest_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.records.selection.PUBLISHED", tmp_path / "no published records")
    runs = toy_runs(tmp_path)
    (runs / "alpha/0/record/scenarios/fog.npz").write_bytes(b"cut")
    (runs / "beta/0/record/reliability.npz").write_bytes(b"cut")
    content = build_payload(runs, "", 0)
    (board,) = content["datasets"][0]["boards"]
    assert rows_of(board, "damage").keys() == {"beta"}
    assert rows_of(board, "calibration")["beta"]["seeds"] == 1
    said = " ".join(content["remarks"])
    assert "fog.npz is damaged" in said and "reliability.npz is damaged" in said


def cells(page: Page) -> list[list[str]]:
    rows = "[...document.querySelector('main table').tBodies[0].rows]"
    return page.run(f"{rows}.map((row) => [...row.cells].map((cell) => cell.innerText))")  # type: ignore[no-any-return]


@browser_only
def test_the_curves_and_their_table_follow_scenario_and_set(page: Page) -> None:
    # seeds 0 and 1: clean 80 and 81; fog costs 10 and 20, two sensors 2.5 more
    spread = "\u00b1 0.71"
    go(page, "view=damage")
    assert "fog: mean over damaged sets" in text(page) and "1 methods were not scored" in text(page)
    assert [row[0] for row in cells(page)] == ["beta", "alpha"]
    for row in cells(page):
        assert row[1:6] == [
            *(f"80.50 {spread}", f"64.67 {spread}", f"58.00 {spread}", "15.83 \u00b1 0.00"),
            "20 %, R+D",
        ]
    go(page, "view=damage&damaged=D")
    assert cells(page)[0][2:6] == [
        f"65.50 {spread}",
        f"60.50 {spread}",
        "15.00 \u00b1 0.00",
        "20 %, D",
    ]
    drawn = page.run("document.querySelector('.plot').data.filter((one) => one.mode !== 'none')")
    assert [one["x"] for one in drawn] == [["clean", "5 %", "20 %"]] * 2
    assert [one["y"] for one in drawn] == [[80.5, 70.5, 60.5]] * 2
    # another scenario has other sets
    page.run("document.getElementById('choice-scenario').focus()")
    choose = "(list, value) => { list.value = value; list.dispatchEvent(new Event('change')); }"
    page.run(f"({choose})(document.getElementById('choice-scenario'), 'tilt')")
    page.wait("document.body.dataset.shown === '#view=damage&scenario=tilt'")
    assert "tilt: D damaged" in text(page)
    assert page.run("document.activeElement.id") == "choice-scenario", "drawn anew, it stays there"
    assert not page.run("document.getElementById('choice-damaged')")
    # rows are hidden as in the other views
    go(page, "view=damage&hide=beta-gro")
    assert [row[0] for row in cells(page)] == ["alpha"]
    go(page, "view=damage&hide=alpha-gr.beta-gro")
    assert "make robustness RUN=" in text(page), "gamma was not scored under damage"


@browser_only
def test_the_diagram_is_of_the_chosen_method_and_subset(page: Page, board: dict[str, Any]) -> None:
    row = next(row for row in board["rows"] if row["method"] == "alpha")
    go(page, f"view=calibration&trust=Brier&row={row['id'][:8]}&subset=R")
    assert "Reliability: alpha with R" in text(page)
    heat, diagram = page.run("[...document.querySelectorAll('.plot')].map((plot) => plot.data)")
    found = board["calibration"]["rows"][row["id"]]
    shares, accuracies, confidences = found["bins"][board["subsets"].index("R")]
    assert diagram[0]["y"] == shares
    assert diagram[2]["x"] == [value for value in confidences if value is not None]
    assert diagram[2]["y"] == [value for value in accuracies if value is not None]
    names = [one["name"] for one in board["calibration"]["measures"]]
    brier = [mean for mean, _ in found["scores"][names.index("Brier")]]
    assert brier in heat[0]["z"]


@browser_only
@pytest.mark.parametrize("view", ["damage", "calibration"])
def test_a_phone_shows_them_whole(page: Page, view: str) -> None:
    phone(page, 400)
    try:
        go(page, f"view={view}")
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        box = "(plot) => plot.getBoundingClientRect()"
        sizes = page.run(f"[...document.querySelectorAll('.plot')].map({box}).map((b) => b.width)")
        assert sizes and min(sizes) > 300
    finally:
        phone(page, 0)


def test_pictures_belong_to_the_scenario_and_its_definition(board: dict[str, Any]) -> None:
    [scene] = board["damage"]["gallery"]["scenes"]
    assert scene["id"] == board["damage"]["scenarios"]["fog"]["id"]
    ids = {row["id"]: row["method"] for row in board["rows"]}
    assert {ids[group] for group in scene["rows"]} == {"alpha", "beta"}
    assert {"rgb", "mildest.rgb", "strongest.rgb"} <= scene["modalities"].keys()


@browser_only
def test_the_pictures_of_the_damaged_sensor_are_shown(page: Page) -> None:
    go(page, "view=damage")
    # two of eight rows are not scored; alpha has 1 wrong pixel of 48, then 2, beta 2 and 4
    captions = "[...document.querySelectorAll('.cards h3')].map((head) => head.textContent)"
    page.wait(f"{captions}.filter((text) => text.endsWith('right')).length === 6")
    assert page.run(captions) == [
        *("beta, seed 0", "clean: 100.0 % right", "5 %: 95.8 % right", "20 %: 91.7 % right"),
        *("alpha, seed 0", "clean: 100.0 % right", "5 %: 97.9 % right", "20 %: 95.8 % right"),
    ]
    assert "saw of R" in text(page)
    go(page, "view=damage&damaged=D")
    assert "saw of D" in text(page)
    go(page, "view=damage&scenario=tilt")
    assert "saw of" not in text(page)
