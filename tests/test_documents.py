"""Links, file names and names of code in the Markdown documents lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmark", "configs", "datamodules", "docs", "examples", "methods", "results")
FOLDERS += ("tests", "tools")
SUFFIXES = "(?:py|md|csv|yaml|toml|js|css|html|png|cff|lock|tex)"
# files that a command writes or a reader makes
MADE = {"scenes.csv", "classes.csv", "class_shares.csv", "statistics.csv", "mine.small.yaml"}
MADE |= {"inputs.json", "methods/mine/README.md", "results/report/index.html"}


def documents() -> list[Path]:
    """Markdown files, without the papers' tables, which a command writes whole."""
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    for folder in FOLDERS:
        found += [p for p in (ROOT / folder).rglob("*.md") if p.parent.name != "tables"]
    return sorted(found)


DOCUMENTS = [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in documents()]
LEDGERS = [pytest.param(path, id=path.parent.name) for path in ROOT.glob("methods/*/README.md")]


def prose(path: Path) -> str:
    """A document without its code blocks."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def headings(path: Path) -> set[str]:
    """Anchors that a Markdown page gives to its headings."""
    titles = re.findall(r"^#+ (.*)$", prose(path), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in headings(linked), target


@pytest.fixture(scope="module")
def files() -> list[str]:
    """Every file of the repository, from the root, behind a slash."""
    found = [f"/{path.name}" for path in ROOT.iterdir()]
    for folder in FOLDERS:
        found += [f"/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / folder).rglob("*.*")]
    return found


@pytest.mark.parametrize("path", DOCUMENTS)
def test_named_files_exist(path: Path, files: list[str]) -> None:
    """A file in backticks is named by its path from the root or by the end of it."""
    names = re.findall(rf"`((?:[\w.\-]+/)*[\w\-][\w.\-]*\.{SUFFIXES})(?:::\w+)?`", prose(path))
    missing = []
    for name in sorted(set(names) - MADE):
        if not name.startswith("results/runs/") and not any(f.endswith(f"/{name}") for f in files):
            missing.append(name)
    assert not missing


@pytest.mark.parametrize("path", LEDGERS)
def test_code_named_in_a_ledger_exists(path: Path) -> None:
    """Dotted names in the first column of a ledger's table `here` are defined where they say."""
    table = prose(path).partition("| here |")[2].partition("\n\n")[0]
    missing = []
    first_column = "\n".join(line.split(" | ")[0] for line in table.splitlines())
    for name in re.findall(r"`([a-z_]+(?:\.\w+)+)", first_column):
        folder, module = path.parent, ""
        for part in name.split("."):
            if folder.joinpath(f"{part}.py").exists():
                module = folder.joinpath(f"{part}.py").read_text(encoding="utf-8")
            elif part == "parts":
                folder = path.parents[1] / "parts"
            elif not re.search(rf"\b{part}\b", module):
                missing.append(name)
    assert not missing


def test_no_row_of_a_published_table_is_written_by_hand() -> None:
    """Rows of scores and costs stand between the comments that `make refresh` fills, or nowhere."""
    rows = set()
    for path in (ROOT / "results").glob("[lc]*/*.md"):
        if path.name != "README.md":
            rows |= {line for line in path.read_text().splitlines() if line.startswith("| ")}
    assert rows
    for document in documents():
        if document.name == "README.md" or "results" not in document.parts:
            text = re.sub(r"<!-- table: .*?<!-- end -->", "", prose(document), flags=re.S)
            assert not rows & set(text.splitlines()), document
