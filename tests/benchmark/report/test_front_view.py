"""The front view and the folded families, clicked through on a screen and on a phone."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmark.leaderboard.families import family_heads
from benchmark.records.groups import seed_groups
from benchmark.records.record import search_records
from tests.support.browser import PROGRAM, Page
from tests.support.report_page import downloaded, go, phone, text, write_page
from tests.support.toy_records import toy_record, toy_result

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")
WIDTHS = (1400, 400)
SUBSETS = ("R", "D", "N", "R+D", "R+N", "D+N", "R+D+N")


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SGMA's variant and its longer run are better than SGMA; MuSS has a baseline."""
    runs = tmp_path_factory.mktemp("families") / "runs"
    skills = {"sgma": 0.6, "sgma_additive": 0.7, "muss": 0.5, "muss_dropout": 0.55, "own": 0.4}
    for method, skill in skills.items():
        for seed in (0, 1):
            # the method of a variant is that of its folder
            changes = {"method": method.partition("_")[0], "control": method == "muss_dropout"}
            toy_record(runs, method, seed, toy_result(skill, seed), **changes)
    longer = {"overrides": ("--trainer.max_steps", "9"), "group": "longer", "identity": "longer"}
    toy_record(runs / "longer", "sgma", 0, toy_result(0.9), **longer)
    # one that knows R alone has no score without it
    optical = toy_result(0.95)
    for place, subset in enumerate(SUBSETS):
        if "R" not in subset:
            optical.scored[place] = False
            for scene in optical.counts:
                scene[place] = 0
    toy_record(runs, "optical", 0, optical)
    costs = runs.parent / "complexity"
    costs.mkdir()
    lines = [
        "sgma,pvt_v2_b0,128,2000000,1.5,3",
        "muss_dropout,,128,1000000,1,2",
        "own,,128,9000000,8,9",
    ]
    (costs / "toy.csv").write_text(
        "\n".join(["method,backbone,side,parameters,GMAC R,GMAC R+D+N"] + lines)
    )
    return runs


@pytest.fixture(scope="module")
def family_page(families: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(families, tmp_path_factory.mktemp("page"))


@pytest.fixture(params=WIDTHS)
def front(request: pytest.FixtureRequest, browser: Page, family_page: Path) -> Iterator[Page]:
    phone(browser, request.param if request.param < 600 else 0)
    browser.complaints.clear()
    browser.open(family_page)
    yield browser
    phone(browser, 0)
    assert browser.complaints == []


def table_lines(page: Page, selector: str = "main table") -> list[list[str]]:
    cells = "(row) => [...row.cells].map((cell) => cell.innerText.trim())"
    return page.run(f"[...document.querySelector('{selector}').rows].map({cells})")


def test_families_stand_behind_one_row(families: Path) -> None:
    groups = {group.group: group for group in seed_groups(search_records([families])[0])}
    ranked = [f"{name}-group" for name in ("optical", "sgma_additive", "sgma", "muss_dropout")]
    ranked = ["longer", *ranked, "muss-group", "own-group"]
    heads = family_heads([groups[name] for name in ranked])
    folded = {name: head for name, head in heads.items() if name != head}
    assert folded == {"longer": "sgma-group", "sgma_additive-group": "sgma-group"}
    # without the method itself, its variant as it comes stands for it
    rest = [groups[name] for name in ranked if name != "sgma-group"]
    assert family_heads(rest)["longer"] == "sgma_additive-group"


def test_the_matrix_shows_means_of_seeds_and_each_worst_case(front: Page, families: Path) -> None:
    lines = table_lines(front)
    assert [name.replace("\n", " ") for name in lines[0][1:]] == [
        *("SGMA", "MuSS, random subsets (control)", "MuSS", "own")
    ]
    dots = "(head) => head.getAttribute('aria-label')"
    said = front.run(f"[...document.querySelectorAll('main tbody .dots')].map({dots})")
    assert len(said) == 7 and said[0] == "R, D and N left" and said[-1] == "N left, R and D missing"
    subsets = ["+".join(words.split(" left")[0].replace(" and", ",").split(", ")) for words in said]
    for column, method in enumerate(("sgma", "muss_dropout", "muss", "own"), start=1):
        records = search_records([families / method])[0]
        expected = {}
        for place, subset in enumerate(SUBSETS):
            matrices = [record.counts[place, 0].sum(0)[:3] for record in records]
            scores = []
            for matrix in matrices:
                hits = np.diag(matrix)
                scores.append(100 * np.mean(hits / (matrix.sum(0) + matrix.sum(1) - hits)))
            expected[subset] = np.mean(scores)
        shown = dict(zip(subsets, [line[column] for line in lines[1:8]], strict=True))
        assert {name: value[:4] for name, value in shown.items()} == {
            name: f"{value:.1f}" for name, value in expected.items()
        }
        (worst,) = [name for name, value in shown.items() if "worst" in value]
        assert worst == min(expected, key=lambda name: expected[name])
        facts = {line[0]: line[column] for line in lines[8:]}
        assert facts["lost at worst"] == f"{expected['R+D+N'] - expected[worst]:.1f}"
    assert front.run("document.documentElement.scrollWidth <= innerWidth")


def test_what_lacks_a_score_is_neither_ranked_nor_coloured(front: Page) -> None:
    """`optical` would lead by far: its Average is over fewer and easier subsets."""
    said = text(front)
    assert "optical" not in said and "1 without a score of some combination" in said
    go(front, "view=leaderboard")
    line = next(line for line in table_lines(front) if line[0].startswith("optical"))
    head = table_lines(front)[0]
    assert line[head.index("D")] == "-" and line[head.index("R")] != "-"
    go(front, "view=run&row=optical-")
    lines = {line[0]: line for line in table_lines(front)}
    assert lines["D"][1] == lines["D+N"][1] == "-" and lines["R+D"][1] != "-"
    assert lines["Average"][1] == "-", "it has none in the tables"


def test_differences_within_noise_are_said_to_be_so(front: Page) -> None:
    place = "board().rows.find((row) => row.name === '{}')"
    sgma, muss = place.format("sgma"), place.format("muss")
    assert front.run(f"standing({muss}, {sgma})") == "behind"
    pair = f"{{ first: {sgma}.id, second: {muss}.id, measure: 'Average' }}"
    for verdict, word in {"not separable": "level", "within the seeds' spread": "level"}.items():
        front.run(f"board().intervals.pairs.unshift({{ ...{pair}, verdict: {verdict!r} }})")
        assert front.run(f"standing({muss}, {sgma})") == word
        front.run("board().intervals.pairs.shift()")
    # without intervals the seeds alone speak, and a single one says nothing
    front.run("board().intervals.pairs = []")
    for ours, theirs, word in (((50, 1), (51.4, 1), "level"), ((50, 1), (51.5, 1), "behind")):
        rows = [
            f"{{ id: '{n}', summary: {{ Average: {list(one)} }} }}"
            for n, one in enumerate((ours, theirs))
        ]
        assert front.run(f"standing({rows[0]}, {rows[1]})") == word
    single = "{ id: 'x', summary: { Average: [10, null] } }"
    assert front.run(f"standing({single}, {sgma})") == "open"


def test_costs_in_words_and_in_the_matrix(front: Page) -> None:
    said = text(front)
    assert "SGMA: 2 million weights and 3 GMAC" in said
    assert "MuSS, random subsets (control): 1 million weights and 2 GMAC" in said
    lines = {line[0]: line[1:] for line in table_lines(front)}
    assert lines["million weights"] == ["2", "1", "-", "9"]
    assert lines["GMAC"] == ["3", "2", "-", "9"]


def test_a_number_leads_to_its_run_and_back(front: Page) -> None:
    selector = "[id='score-muss-gro-R+D']"
    number = text(front, selector)
    front.run(f'document.querySelector("{selector}").focus()')
    front.press("Enter")
    front.wait("document.activeElement.id === 'back'")
    assert front.run("document.querySelector('tr[aria-current] th').innerText") == "R+D"
    mean = front.run("document.querySelector('tr[aria-current]').cells[3].innerText")
    assert f"{float(mean.split()[0]):.1f}" == number
    assert "muss" in text(front, "main h2") and "make bench METHOD=muss" in text(front)
    assert {line[1] for line in table_lines(front, "main section:last-of-type table")[1:]} == {
        "0",
        "1",
    }
    front.press("Enter")
    front.wait("document.body.dataset.shown === '#' && location.hash === ''")
    assert front.run("document.activeElement.id") == "score-muss-gro-R+D"
    assert front.run("document.activeElement.getBoundingClientRect().top < innerHeight")


def test_families_unfold(front: Page, downloads: Path) -> None:
    def methods() -> list[str]:
        heads = "[...document.querySelector('main table').querySelectorAll('tbody th')]"
        return front.run(f"{heads}.map((head) => head.firstChild.textContent.split(' ')[0])")

    front.click("#view-leaderboard")
    front.wait("document.getElementById('fold-sgma-gro')")
    assert methods() == ["sgma", "muss_dropout", "muss", "own", "optical"]
    assert (
        front.run("document.getElementById('fold-sgma-gro').getAttribute('aria-expanded')")
        == "false"
    )
    front.run("document.getElementById('fold-sgma-gro').focus()")
    front.press("Enter")
    front.wait("document.body.dataset.shown.includes('open=sgma-gro')")
    whole = ["sgma", "sgma_additive", "sgma", "muss_dropout", "muss", "own", "optical"]
    assert methods() == whole
    assert front.run("document.activeElement.id") == "fold-sgma-gro"
    front.click("#fold-all")
    front.wait("document.body.dataset.shown === '#view=leaderboard'")
    assert "2 rows are folded" in text(front)
    front.click("main button.csv")
    path = downloaded(downloads, "toy.leaderboard.csv")
    assert len(list(csv.DictReader(path.read_text().splitlines()))) == 7
    path.unlink()
    front.click("#fold-all")
    front.wait("document.body.dataset.shown.includes('open=all')")
    assert len(methods()) == 7 and "Methods (7 of 7)" in text(front, "#filters")
    go(front, "view=confusion&row=sgma_add")
    assert "sgma_additive" in text(front, "main h2"), "a folded row can be chosen"
