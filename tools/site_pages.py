"""Hooks of mkdocs.yml: all Markdown of the repository becomes pages, its links those of the site.

Documents link to each other by their places in the repository, so that they work on a forge too.
Here each gets a place on the site, and a link to any other file leads to a copy of that file:

    docs/methods.md            methods.md
    methods/sgma/README.md     ledgers/sgma.md
    results/tables/sgma_I.md   results/tables/sgma_I.md
    examples/clouds/x.yaml     files/examples/clouds/x.yaml

Example:
    >>> page_of("methods/sgma/README.md"), page_of("docs/methods.md"), page_of("README.md")
    ('ledgers/sgma.md', 'methods.md', 'index.md')
    >>> site_link("../README.md#methods", "docs/methods.md")
    'index.md#methods'
"""

from __future__ import annotations

import os
import re
from itertools import chain
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
SINGLE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
REPORT = "leaderboard/index.html"
PUBLISHED = ("complexity", "leaderboards", "reported", "tables")
LEDGER = re.compile(r"methods/(\w+)/README\.md")
BESIDE = ("methods/*/README.md", "examples/**/*.md", "examples/**/*.ipynb", "results/*.md")
# by name: results/runs and what lies in it are a user's own
BESIDE += tuple(f"results/{name}/*.md" for name in PUBLISHED)
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", flags=re.M | re.S)
LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def page_of(path: str) -> str:
    """Return the page of a document, or the copy of another file, by its path in the repository."""
    if ledger := LEDGER.fullmatch(path):
        return f"ledgers/{ledger[1]}.md"
    if path in SINGLE:
        return SINGLE[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.endswith((".md", ".ipynb")):
        return path.replace("README.md", "index.md")
    return f"files/{path}"


def linked_path(target: str, source: str) -> str | None:
    """Return the file that a link of a document leads to; None for addresses and plain anchors."""
    name = target.partition("#")[0]
    if not name or re.match(r"[a-z]+:", target):
        return None
    path = os.path.normpath(os.path.join(os.path.dirname(source), name))
    if (ROOT / path).is_dir():
        path = f"{path}/README.md"
    return path if (ROOT / path).is_file() else None


def site_link(target: str, source: str) -> str:
    """Return a link of the document `source` as the site needs it; unknown ones stay."""
    path = linked_path(target, source)
    if path is None:
        return target
    anchor = target.partition("#")
    start = os.path.dirname(page_of(source)) or "."
    return os.path.relpath(page_of(path), start) + anchor[1] + anchor[2]


def documents() -> list[str]:
    """Return the documents outside of docs/, by their paths in the repository."""
    found = [*SINGLE]
    for pattern in BESIDE:
        found += sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob(pattern))
    return found


def outside_code(text: str) -> list[tuple[bool, str]]:
    """Split Markdown into (is prose, text).

    Example:
        >>> outside_code("see `a` now")
        [(True, 'see '), (False, '`a`'), (True, ' now')]
    """
    parts, end = [], 0
    for code in CODE.finditer(text):
        parts += [(True, text[end : code.start()]), (False, code[0])]
        end = code.end()
    return [*parts, (True, text[end:])]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill folders of the navigation with their pages; name the report where it is built."""
    pages = [page_of(path) for path in documents()]
    config.nav = [_with_folders(item, pages) for item in config.nav or []]
    if config.extra["report"]:
        config.nav.insert(1, {"Leaderboard": REPORT})
    return config


def _with_folders(item: Any, pages: list[str]) -> Any:
    """Replace a folder by the pages in it, everywhere below an item of the navigation."""
    if isinstance(item, list):
        return [_with_folders(entry, pages) for entry in item]
    if isinstance(item, dict):
        return {title: _with_folders(entry, pages) for title, entry in item.items()}
    if item.endswith((".md", ".ipynb", ".html")):
        return item
    below = [page for page in pages if page.startswith(f"{item}/")]
    return sorted(below, key=lambda page: not page.endswith("index.md"))


def reference_page() -> str:
    """Return the page that asks mkdocstrings for every public name of `imss`."""
    import imss

    functions_first = sorted(imss.__all__, key=lambda name: name[0].isupper())
    return "# Python reference\n\n" + "".join(f"::: imss.{name}\n\n" for name in functions_first)


def report_page() -> str:
    """Return the report of all records, whose rows lead to the ledgers of the site."""
    from benchmark.choices import DEFAULT_RUNS, PUBLISHED_COSTS
    from benchmark.report.page import build_page
    from benchmark.report.payload import build_payload

    payload = build_payload(Path(DEFAULT_RUNS), "", 2000, PUBLISHED_COSTS)
    for data in payload["datasets"]:
        for row in chain.from_iterable(board["rows"] for board in data["boards"]):
            if row["ledger"]:
                row["ledger"] = page_of(row["ledger"]).replace(".md", ".html")
    return build_page({**payload, "checkout": ".."})


@event_priority(100)  # before the plugin that makes pages of notebooks looks for them
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents outside of docs/, the files they link to, and the page of docstrings."""
    texts = documents()
    for path in texts:
        if path.endswith(".ipynb"):
            # as it stands: its plugin takes no file that was made up
            file = File(path, str(ROOT), config.site_dir, config.use_directory_urls)
        else:
            file = File.generated(config, page_of(path), abs_src_path=str(ROOT / path))
        files.append(file)
    texts += [p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob("*.md")]
    copies = set()
    for source in texts:
        if source.endswith(".md"):
            text = (ROOT / source).read_text(encoding="utf-8")
            copies |= {linked_path(link[2], source) for link in LINK.finditer(text)}
    for path in sorted(copy for copy in copies if copy):
        if page_of(path) not in files.src_uris:
            files.append(File.generated(config, page_of(path), abs_src_path=str(ROOT / path)))
    files.append(File.generated(config, "python_reference.md", content=reference_page()))
    if config.extra["report"]:
        files.append(File.generated(config, REPORT, content=report_page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a document into those of the site."""
    if page.file.abs_src_path is None:
        return markdown
    source = Path(page.file.abs_src_path).relative_to(ROOT).as_posix()

    def relink(link: re.Match[str]) -> str:
        return link[1] + site_link(link[2], source) + link[3]

    return "".join(
        LINK.sub(relink, part) if prose else part for prose, part in outside_code(markdown)
    )
