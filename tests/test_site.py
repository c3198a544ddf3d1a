"""The site of `make docs`: complete, and every address in it leads somewhere on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import imss
from tools import site_pages

ROOT = Path(__file__).resolve().parents[1]


class Page(HTMLParser):
    """What a page loads, links to, and can be linked at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given["id"]} if "id" in given else set()
        if tag in ("img", "script") and "src" in given:
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon"):
            self.loads.append(given["href"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; warnings are errors (`strict` in mkdocs.yml, which `--quiet` would undo)."""
    out = tmp_path_factory.mktemp("site") / "site"
    line = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "IMSS_REPORT": "1"}
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """All pages but the one for addresses that do not exist, whose links depend on the host."""
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def test_what_a_user_made_is_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("README.md", "tables/a.md", "runs/leaderboards/b.md", "report/c.md"):
        (tmp_path / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "results" / name).touch()
    monkeypatch.setattr(site_pages, "ROOT", tmp_path)
    found = {path for path in site_pages.documents() if path.startswith("results/")}
    assert found == {"results/README.md", "results/tables/a.md"}


def test_every_document_is_a_page(site: Path) -> None:
    for path in (ROOT / "docs").glob("*.md"):
        assert (site / f"{path.stem}.html").is_file()
    for path in (ROOT / "methods").glob("*/README.md"):
        assert (site / "ledgers" / f"{path.parent.name}.html").is_file()
    for path in (ROOT / "results" / "tables").glob("*.md"):
        assert (site / "results" / "tables" / f"{path.stem}.html").is_file()


def test_every_address_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    dead = []
    for path, page in pages.items():
        for address in page.loads + page.links:
            parts = urlsplit(address)
            if parts.scheme or not parts.path and not parts.fragment:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            there = target.is_file() and target.is_relative_to(site.resolve())
            if there and parts.fragment and target.suffix == ".html":
                there = unquote(parts.fragment) in pages[site / target.relative_to(site)].anchors
            if not there:
                dead.append(f"{path.relative_to(site)}: {address}")
    assert not dead
    # the walk saw what it should have seen
    assert sum(len(page.links) for page in pages.values()) > 1000


def test_the_report_is_a_page_of_it(site: Path, pages: dict[Path, Page]) -> None:
    links = pages[site / "methods.html"].links
    assert "leaderboard/index.html" in links
    text = (site / "leaderboard" / "index.html").read_text("utf-8")
    ledgers = set(re.findall(r'"ledger": ?"([^"]+)"', text))
    assert len(ledgers) > 15 and '"checkout": ".."' in text.replace('":"', '": "')
    assert all((site / ledger).is_file() for ledger in ledgers)


def test_nothing_is_fetched_from_elsewhere(pages: dict[Path, Page]) -> None:
    loads = {address for page in pages.values() for address in page.loads}
    # pictures of the notebook are in its page
    assert not [a for a in loads if urlsplit(a).netloc or urlsplit(a).scheme not in ("", "data")]


def test_the_reference_has_every_public_name(site: Path, pages: dict[Path, Page]) -> None:
    reference = pages[site / "python_reference.html"]
    assert {f"imss.{name}" for name in imss.__all__} <= reference.anchors
