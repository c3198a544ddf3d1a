"""The page in a headless Chromium, from the disk: every view, without complaint or network."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmark.leaderboard.score_rows import leaderboard_rows
from benchmark.leaderboard.table import format_leaderboard
from benchmark.records.groups import seed_groups
from benchmark.records.record import search_records
from tests.support.browser import PROGRAM, Page
from tests.support.report_page import downloaded, go, text, write_page
from tests.support.toy_records import toy_record
from tests.support.toy_report import METHODS, SIDE, toy_prediction

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")
VIEWS = [
    "overview",
    "leaderboard",
    "subsets",
    "classes",
    "conditions",
    "confusion",
    "failures",
    "sensors",
    "damage",
    "calibration",
    "cost",
]
VIEWS += ["training", "pictures", "notes"]
PAIRS = [
    ("--text", "--ground"),
    ("--text", "--raised"),
    ("--soft", "--ground"),
    ("--soft", "--raised"),
]
PAIRS += [("--accent", "--ground"), ("--accent", "--raised"), ("--on-accent", "--accent")]
CONTRAST = 4.5  # WCAG 2.1, level AA, text


def test_every_view_by_clicks(page: Page) -> None:
    for view in VIEWS:
        page.click(f"#view-{view}")
        page.wait(f"document.querySelector('[aria-current]').id === 'view-{view}'")
        page.wait("document.body.dataset.shown === (location.hash || '#')")
        said = text(page)
        assert len(said) > 40 and not {"undefined", "NaN", "null", "[object"} & set(said.split()), (
            view
        )
        count = "(plot) => plot.querySelectorAll('svg.main-svg').length"
        drawn = f"[...document.querySelectorAll('.plot')].map({count})"
        plots = page.run(drawn)
        assert all(plots) and bool(plots) == (view not in ("overview", "pictures", "notes")), view
        assert page.run("document.documentElement.scrollWidth <= innerWidth"), (
            f"{view} is wider than the window"
        )
    page.run("history.back()")
    page.wait("document.querySelector('[aria-current]').id === 'view-pictures'")


def test_the_leaderboard_is_that_of_the_tables(page: Page, runs: Path) -> None:
    table = format_leaderboard(
        leaderboard_rows(seed_groups(search_records([runs])[0])), sign=" \u00b1 "
    )
    go(page, "view=leaderboard")
    # links follow the text of a cell
    cells = "(row) => [...row.cells].map((cell) => cell.firstChild?.textContent ?? '')"
    found = page.run(f"[...document.querySelectorAll('main table')[0].rows].map({cells})")
    heads, lines = found[0], [dict(zip(found[0], line, strict=True)) for line in found[1:]]
    names = [name for name in table.columns if name in heads]
    assert {"method", "Average", "Top-1", "Last-1", "R", "R+D+N", "n"} <= set(names)
    assert [[line[name] for name in names] for line in lines] == table[names].astype(
        str
    ).to_numpy().tolist()


def test_choices_live_in_the_address(page: Page, page_file: Path) -> None:
    go(page, "view=classes&subset=R%2BD&against=full")
    assert "IoU per class with R+D, less its full set" in text(page, "main h2")
    page.run("document.getElementById('choice-subset').value = 'N'")
    page.run("document.getElementById('choice-subset').dispatchEvent(new Event('change'))")
    page.wait("location.hash.includes('subset=N')")
    address = page.run("location.hash")
    page.wait("document.body.dataset.shown === location.hash")
    there = text(page)
    page.open(page_file, address)
    assert text(page) == there and "with N" in there
    go(page, "view=subsets&hide=alpha-gr.gamma-gr")
    assert "Methods (1 of 3)" in text(page, "#filters")
    go(page, "view=nonsense&subset=X&condition=Y&measure=class:99&row=q&scene=none&data=other")
    assert "When sensors are missing: toy" in text(page)


def test_tables_save_as_csv(page: Page, downloads: Path) -> None:
    go(page, "view=confusion&subset=D&seed=1&row=beta-gro")
    page.click("main details > summary")
    page.click("main button.csv")
    lines = list(
        csv.reader(downloaded(downloads, "toy.confusion.beta.D.csv").read_text().splitlines())
    )
    counts = page.run("board().rows.find((row) => row.method === 'beta').counts[1][1]")
    assert lines[0] == ["true class", "ground", "building", "tree"]
    assert [[int(value) for value in line[1:]] for line in lines[1:]] == counts
    go(page, "view=leaderboard")
    page.click("main button.csv")
    board = list(
        csv.DictReader(downloaded(downloads, "toy.leaderboard.csv").read_text().splitlines())
    )
    best = page.run("board().rows[0].summary.Average[0]")
    assert (
        len(board) == len(METHODS)
        and float(board[0]["Average"]) == best
        and board[0]["Top-1 subset"]
    )


def test_every_figure_saves_as_svg(page: Page, downloads: Path) -> None:
    for view in (
        "leaderboard",
        "subsets",
        "classes",
        "conditions",
        "confusion",
        "failures",
        "sensors",
        "cost",
        "training",
    ):
        go(page, f"view={view}")
        for number in range(page.run("document.querySelectorAll('main button.svg').length")):
            before = set(downloads.glob("*.svg"))
            page.run(f"document.querySelectorAll('main button.svg')[{number}].click()")
            deadline = time.monotonic() + 60
            while not (new := set(downloads.glob("*.svg")) - before):
                assert time.monotonic() < deadline, view
                time.sleep(0.05)
            root = ElementTree.parse(downloaded(downloads, new.pop().name)).getroot()
            assert root.tag.endswith("svg") and len(list(root.iter())) > 30, view


def test_pictures_and_their_errors(page: Page) -> None:
    """The toy predictions miss `wrong` pixels per missing sensor, of 8 x 8 less two rows."""
    for subset, wrong in {"R": 2, "R+D": 1, "R+D+N": 0}.items():
        go(page, "view=pictures&subset=" + subset.replace("+", "%2B"))
        page.wait("document.querySelectorAll('.result canvas').length === 2")
        heads = page.run(
            "[...document.querySelectorAll('.result h3')].map((head) => head.innerText)"
        )
        for place, name in enumerate(("alpha", "beta"), start=1):
            right = 100 * (1 - place * wrong / (SIDE * (SIDE - 2)))
            assert f"{name}, seed 0: {right:.1f} % right" in heads
    page.click("[id='subset-D']")
    page.wait(
        "document.querySelectorAll('.result canvas').length === 2"
        " && location.hash.includes('subset=D')"
    )
    assert text(page, "main h2") == "Scene scene3 with D"
    whole = "0, 0, canvas.width, canvas.height"
    pixels = f"(canvas) => [...canvas.getContext('2d').getImageData({whole}).data]"
    red = "(value, at, all) => at % 4 === 0 && value === 214 && all[at + 1] === 40"
    maps = f"[...document.querySelectorAll('.result canvas')].map({pixels})"
    counts = page.run(f"{maps}.map((all) => all.filter({red}).length)")
    assert (
        sorted(counts)
        == [(toy_prediction(place, "D")[2, :4] == 0).sum() for place in (1, 2)]
        == [2, 4]
    )


def test_keyboard_alone(page: Page) -> None:
    def focused() -> str:
        active = "document.activeElement"
        return str(page.run(f"{active}.id || {active}.className || {active}.tagName"))

    page.press("Tab")
    assert focused() == "skip"
    page.press("Enter")
    assert focused() == "main"
    page.run("document.getElementById('theme').focus()")
    page.press("Tab")
    assert focused() == "view-overview"
    page.press("Tab")
    page.press("Tab")
    page.press("Enter")
    page.wait("document.querySelector('[aria-current]').id === 'view-subsets'")
    assert focused() == "view-subsets"  # drawing anew does not lose the place
    seen = []
    for _ in range(16):
        page.press("Tab")
        seen.append(focused())
    assert "choice-measure" in seen and "choice-against" in seen and "svg" in seen


def test_methods_are_chosen_from_the_keyboard(page: Page) -> None:
    go(page, "view=leaderboard")
    page.run("document.getElementById('rows').focus()")
    page.press("Enter")
    page.wait("document.querySelector('details.rows').open")
    page.run("document.getElementById('row-beta-gro').focus()")
    page.press(" ")
    page.wait(
        "location.hash === '#view=leaderboard&hide=beta-gro'"
        " && document.body.dataset.shown === location.hash"
    )
    assert "Methods (2 of 3)" in text(page, "#filters") and "beta" not in text(page, "main table")
    assert (
        page.run("document.querySelector('details.rows').open && document.activeElement.id")
        == "row-beta-gro"
    )
    page.press("Escape")
    assert (
        page.run("document.querySelector('details.rows').open || document.activeElement.id")
        == "rows"
    )


def test_methods_stand_by_family_and_are_chosen_by_kind_and_year(
    browser: Page, tmp_path: Path
) -> None:
    for variant in ("sgma", "sgma_additive", "shaspec"):
        toy_record(tmp_path / "runs", variant, method=variant.partition("_")[0])
    browser.open(write_page(tmp_path / "runs", tmp_path / "page"))
    legends = "[...document.querySelectorAll('details.rows legend')].map((one) => one.textContent)"
    assert set(browser.run(legends)) == {"SGMA", "ShaSpec"}
    for words, shown in {"kind=variant": {"sgma_additive"}, "year=2023": {"shaspec"}}.items():
        go(browser, f"view=leaderboard&{words}")
        first = "[...document.querySelectorAll('main table')[0].tBodies[0].rows]"
        assert (
            set(browser.run(f"{first}.map((row) => row.cells[0].firstChild.textContent)")) == shown
        )
        assert "Methods (1 of 3)" in text(browser, "#filters")
    browser.run("document.getElementById('choice-year').value = ''")
    browser.run("document.getElementById('choice-year').dispatchEvent(new Event('change'))")
    # of which one is folded behind another
    browser.wait("document.getElementById('rows').textContent === 'Methods (2 of 3)'")


def contrast(page: Page, front: str, back: str) -> float:
    """Contrast ratio of WCAG 2.1 between two of the page's colours."""

    def luminance(name: str) -> float:
        code = page.run(
            f"getComputedStyle(document.documentElement).getPropertyValue('{name}').trim()"
        )
        parts = [int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(front), luminance(back)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_light_and_dark(page: Page) -> None:
    grounds = set()
    for theme in ("light", "dark"):
        page.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": theme}],
        )
        page.wait(f"document.documentElement.dataset.theme === '{theme}'")
        grounds.add(page.run("getComputedStyle(document.body).backgroundColor"))
        for front, back in PAIRS:
            assert contrast(page, front, back) >= CONTRAST, (theme, front, back)
    assert len(grounds) == 2
    page.click("#theme")
    page.wait(
        "document.documentElement.dataset.theme === 'light'"
        " && location.hash.includes('theme=light')"
    )
    page.call("Emulation.setEmulatedMedia", features=[])
