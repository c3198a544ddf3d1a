"""The page in a headless Chromium, from the disk: every view, without complaint or network."""

from __future__ import annotations

import csv
import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmark.__main__ import main
from benchmark.leaderboard.score_rows import leaderboard_rows
from benchmark.leaderboard.table import format_leaderboard
from benchmark.records.groups import seed_groups
from benchmark.records.record import search_records
from tests.support.browser import PROGRAM, Page, chromium
from tests.support.toy_records import toy_record, toy_result
from tests.support.toy_report import METHODS, SIDE, toy_prediction, toy_runs

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")
VIEWS = [
    "leaderboard",
    "subsets",
    "classes",
    "conditions",
    "confusion",
    "failures",
    "sensors",
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


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_runs(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page_file(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(runs, tmp_path_factory.mktemp("page"))


def write_page(runs: Path, folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.records.selection.PUBLISHED", folder / "no published records")
        words = [
            "--runs",
            str(runs),
            "--out",
            str(folder),
            "--complexity",
            str(runs.parent / "complexity"),
        ]
        assert main(["report", *words, "--samples", "100"]) == 0
    return folder / "index.html"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def browser(downloads: Path) -> Iterator[Page]:
    with chromium(downloads) as page:
        yield page


@pytest.fixture
def page(browser: Page, page_file: Path) -> Iterator[Page]:
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(page_file)
    yield browser
    assert browser.complaints == []
    assert not [
        address
        for address in browser.requests
        if not address.startswith(("file:", "data:", "blob:", "about:"))
    ]


def go(page: Page, words: str) -> None:
    """Change what follows the # and wait until it is drawn."""
    page.run(f"location.hash = {words!r}")
    page.wait(f"document.body.dataset.shown === '#' + {words!r}")


def text(page: Page, selector: str = "main") -> str:
    return str(page.run(f"document.querySelector({selector!r}).innerText"))


def downloaded(folder: Path, name: str) -> Path:
    """The file, once it is whole."""
    deadline = time.monotonic() + 60
    while not (folder / name).exists() or list(folder.glob("*.crdownload")):
        assert time.monotonic() < deadline, f"{name} did not arrive: {os.listdir(folder)}"
        time.sleep(0.05)
    return folder / name


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
        assert all(plots) and bool(plots) == (view not in ("pictures", "notes")), view
        assert page.run("document.documentElement.scrollWidth <= innerWidth"), (
            f"{view} is wider than the window"
        )
    page.run("history.back()")
    page.wait("document.querySelector('[aria-current]').id === 'view-pictures'")


def test_the_leaderboard_is_that_of_the_tables(page: Page, runs: Path) -> None:
    table = format_leaderboard(
        leaderboard_rows(seed_groups(search_records([runs])[0])), sign=" \u00b1 "
    )
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
    assert "Leaderboard: toy" in text(page)


def test_tables_save_as_csv(page: Page, downloads: Path) -> None:
    go(page, "view=confusion&subset=D&seed=1&row=beta-gro")
    page.click("main details > summary")
    page.click("main button.csv")
    lines = list(
        csv.reader(downloaded(downloads, "toy.confusion.beta.D.csv").read_text().splitlines())
    )
    counts = page.run(
        "DATA.datasets[0].boards[0].rows.find((row) => row.method === 'beta').counts[1][1]"
    )
    assert lines[0] == ["true class", "ground", "building", "tree"]
    assert [[int(value) for value in line[1:]] for line in lines[1:]] == counts
    go(page, "view=leaderboard")
    page.click("main button.csv")
    board = list(
        csv.DictReader(downloaded(downloads, "toy.leaderboard.csv").read_text().splitlines())
    )
    best = page.run("DATA.datasets[0].boards[0].rows[0].summary.Average[0]")
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
    assert focused() == "view-leaderboard"
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
    page.run("document.getElementById('rows').focus()")
    page.press("Enter")
    page.wait("document.querySelector('details.rows').open")
    page.run("document.getElementById('row-beta-gro').focus()")
    page.press(" ")
    page.wait("location.hash === '#hide=beta-gro' && document.body.dataset.shown === location.hash")
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


def test_empty_and_slim_folders_make_sense(browser: Page, tmp_path: Path) -> None:
    browser.complaints.clear()
    (tmp_path / "none").mkdir()
    browser.open(write_page(tmp_path / "none", tmp_path / "empty"))
    assert "Nothing to show yet" in text(browser) and "make bench" in text(browser)
    runs = toy_runs(tmp_path)
    for path in [*runs.rglob("scenes.npz"), *runs.rglob("metrics.csv"), *runs.rglob("index.json")]:
        path.unlink()
    (runs.parent / "complexity" / "toy.csv").unlink()
    browser.open(write_page(runs, tmp_path / "slim"))
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


def phone(browser: Page, width: int) -> None:
    """Give the page the width of a phone; 0 takes it back."""
    browser.call("Emulation.clearDeviceMetricsOverride")
    if width:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        browser.call("Emulation.setDeviceMetricsOverride", **size)


def test_views_and_columns_without_content_are_not_shown(browser: Page, tmp_path: Path) -> None:
    for seed in (0, 1):
        toy_record(tmp_path / "runs", "alpha", seed)
    browser.open(write_page(tmp_path / "runs", tmp_path / "page"), "#view=notes")
    shown = browser.run("[...document.querySelectorAll('nav a')].map((tab) => tab.id)")
    assert "view-leaderboard" in shown and "view-sensors" in shown
    for view in ("conditions", "cost", "training", "pictures"):
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
    browser.open(write_page(tmp_path / "runs", tmp_path / "page"))
    links = browser.run("[...document.querySelectorAll('tbody th a')].map((a) => [a.text, a.href])")
    assert dict(links)["paper"] == "https://arxiv.org/abs/2603.02505"
    assert "ledger" not in dict(links), "a page outside the checkout names no place in it"
    browser.run("[...document.querySelectorAll('tbody th a')].at(-1).click()")
    browser.wait("location.hash.includes('view=notes') && document.querySelector('main code')")
    said = text(browser)
    assert "make bench METHOD=sgma DATA=miniature SEED=3 ARGS='--trainer.max_steps 4'" in (
        said.replace("BACKBONE=pvt_v2_b0 ", "")
    )
    assert "methods/sgma/README.md" in said


def test_a_phone_shows_scores(browser: Page, page_file: Path) -> None:
    phone(browser, 390)
    try:
        browser.open(page_file)
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
