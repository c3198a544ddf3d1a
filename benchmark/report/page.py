"""The page: one HTML file with its style, its scripts, the chart library and the data in it.

Nothing is fetched: the page forbids itself any connection (Content-Security-Policy), so it works from a disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

SCRIPTS = (
    "state.js",
    "elements.js",
    "charts.js",
    "views.js",
    "worth.js",
    "runs.js",
    "main.js",
)  # in this order


def build_page(content: Mapping[str, Any]) -> str:
    """The whole file; `content` is the block of data (see `content.gather`), which must hold no nan."""
    from plotly.offline import get_plotlyjs

    here = files("benchmark.report")
    parts = {
        "style": (here / "page.css").read_text(encoding="utf-8"),
        "library": get_plotlyjs().replace("</script", r"<\/script"),
        "data": embedded_json(content),
        "program": "\n".join((here / name).read_text(encoding="utf-8") for name in SCRIPTS),
    }
    page = (here / "page.html").read_text(encoding="utf-8")
    for name, text in parts.items():
        before, after = page.split(
            f"{{{{ {name} }}}}"
        )  # each place stands once; texts may hold the same signs
        page = before + text + after
    return page


def embedded_json(content: Mapping[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")
