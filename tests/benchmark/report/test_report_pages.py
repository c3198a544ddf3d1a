"""Pages of other folders and on other screens: empty, slim, full, and as narrow as a phone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.support.browser import PROGRAM, Page
from tests.support.report_page import go, phone, text, write_page
from tests.support.toy_records import toy_record, toy_result
from tests.support.toy_report import toy_runs

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")


def test_empty_and_slim_folders_make_sense(browser: Page, tmp_path: Path) -> None:
    browser.complaints.clear()
    (tmp_path / "none").mkdir()
    browser.open(write_page(tmp_path / "none", tmp_path / "empty"))
    assert "Nothing to show yet" in text(browser) and "make bench" in text(browser)
    runs = toy_runs(tmp_path)
    for path in [*runs.rglob("scenes.npz"), *runs.rglob("metrics.csv"), *runs.rglob("index.json")]:
        path.unlink()
    (runs.parent / "complexity" / "toy.csv").unlink()
    browser.open(write_page(runs, tmp_path / "slim"), "#view=leaderboard")
    assert "counts per scene" in text(browser)
    remedies = {
        "cost": "make profile-all DATA=toy",
        "training": "make bench",
        "pictures": "make examples",
    }
    for view, words in remedies.items():
        go(browser, f"view={view}")
        assert words in text(browser)
    assert browser.complaints == []


def test_views_and_columns_without_content_are_not_shown(browser: Page, tmp_path: Path) -> None:
    for seed in (0, 1):
        toy_record(tmp_path / "runs", "alpha", seed)
    browser.open(write_page(tmp_path / "runs", tmp_path / "page"), "#view=notes")
    shown = browser.run("[...document.querySelectorAll('nav a')].map((tab) => tab.id)")
    assert "view-leaderboard" in shown and "view-sensors" in shown
    for view in ("conditions", "damage", "calibration", "cost", "training", "pictures"):
        assert f"view-{view}" not in shown
        assert browser.run(f"Boolean(document.querySelector('main a[href=\"#view={view}\"]'))")
    script = "table({title: 'a', name: 'a', columns: [{title: 'm'}, {title: 'none'}, {title: 'x'}],"
    script += " rows: [['p', '-', 1], ['q', null, '-']]}).querySelector('thead').textContent"
    assert browser.run(script) == "mx"


def test_thirty_rows_differ_in_looks_and_in_names(browser: Page, tmp_path: Path) -> None:
    same = "a_method_with_a_name_that_is_longer_than_its_room_"
    for number in range(30):
        toy_record(tmp_path / "runs", f"{same}{number}", 0)
    browser.open(write_page(tmp_path / "runs", tmp_path / "page"))
    looks = browser.run("board().rows.map((row) => JSON.stringify(looks(row)))")
    assert len(looks) == len(set(looks)) == 30
    assert len(set(browser.run("names()"))) == 30, "else an axis would draw them as one"


def test_a_row_leads_to_paper_ledger_and_command(browser: Page, tmp_path: Path) -> None:
    words = ("--trainer.max_steps", "4")
    changes = {"overrides": words, "data": "miniature", "method": "sgma"}
    toy_record(tmp_path / "runs", "sgma", 3, **changes)
    browser.open(write_page(tmp_path / "runs", tmp_path / "page"), "#view=leaderboard")
    links = browser.run("[...document.querySelectorAll('tbody th a')].map((a) => [a.text, a.href])")
    assert dict(links)["paper"] == "https://arxiv.org/abs/2603.02505"
    assert "ledger" not in dict(links), "a page outside the checkout names no place in it"
    browser.run("[...document.querySelectorAll('tbody th a')].at(-1).click()")
    browser.wait("location.hash.includes('view=run') && document.querySelector('main code')")
    said = text(browser)
    assert "make bench METHOD=sgma DATA=miniature SEED=3 ARGS='--trainer.max_steps 4'" in (
        said.replace("BACKBONE=pvt_v2_b0 ", "")
    )
    assert "methods/sgma/README.md" in said


def test_a_phone_shows_scores(browser: Page, page_file: Path) -> None:
    phone(browser, 390)
    try:
        browser.open(page_file, "#view=leaderboard")
        assert browser.run("document.documentElement.scrollWidth") == 390
        right = "document.querySelector('tbody td').getBoundingClientRect().right"
        assert browser.run(right) <= 390, "the first score is in sight"
        assert "Sensors: R red-green-blue, D surface height, N near infrared." in text(browser)
    finally:
        phone(browser, 0)


def test_names_are_letters_in_figures_and_break_on_a_phone(browser: Page, tmp_path: Path) -> None:
    labels = ("a <b>bold</b> roof & more", "b &lt; c | $x_1$", "tree", "clutter")
    result = dataclasses.replace(toy_result(), labels=labels)
    toy_record(tmp_path / "runs", "m" + "_long" * 9, 0, result, classes=labels)
    page = write_page(tmp_path / "runs", tmp_path / "page")
    phone(browser, 360)
    try:
        for view in ("confusion", "subsets", "leaderboard"):
            browser.open(page, f"#view={view}")
            assert browser.run("document.documentElement.scrollWidth") == 360
        browser.open(page, "#view=confusion")
        ticks = browser.run(
            "[...document.querySelectorAll('.ytick text')].map((t) => t.textContent)"
        )
        assert sorted(map(str.strip, ticks)) == sorted(labels)
    finally:
        phone(browser, 0)
