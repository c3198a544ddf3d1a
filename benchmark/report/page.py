"""The page: one HTML file with its style, its scripts, the chart library and the data in it.

Nothing is fetched: the page forbids itself any connection (Content-Security-Policy), so it works
from a disk.
"""

import json
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmark.choices import ROOT
from benchmark.formats.files import write_texts

SCRIPTS = (  # in this order
    *("state", "elements", "charts", "overview", "views", "sensor_values", "damage"),
    *("calibration", "record", "runs", "main"),
)


PAGE = "index.html"


def write_page(out: Path, payload: Mapping[str, Any]) -> Path:
    """Write `index.html`; return its path."""
    place = out.resolve()
    # links to ledgers lead into the checkout, from a page that lies in it
    inside = place.is_relative_to(ROOT)
    checkout = Path(os.path.relpath(ROOT, place)).as_posix() if inside else ""
    return write_texts(out, {PAGE: build_page({**payload, "checkout": checkout})})[0]


def build_page(payload: Mapping[str, Any]) -> str:
    """Build the whole file around the block of data (see `payload.build_payload`)."""
    from plotly.offline import get_plotlyjs

    here = files("benchmark.report") / "static"

    def read(name: str) -> str:
        return (here / name).read_text(encoding="utf-8")

    parts = {
        "style": read("page.css"),
        "library": get_plotlyjs().replace("</script", r"<\/script"),
        "data": data_scripts(payload),
        "program": "\n".join(read(f"{name}.js") for name in SCRIPTS),
    }
    page = read("page.html")
    for name, text in parts.items():
        # split, not replace: a text may hold the sign of a later place
        before, after = page.split(f"{{{{ {name} }}}}")
        page = before + text + after
    return page


def data_scripts(payload: Mapping[str, Any]) -> str:
    """Write an element per dataset, after one that lists them: the page reads what it shows."""
    contents, listed = {}, []
    for place, dataset in enumerate(payload["datasets"]):
        contents[f"data-{place}"] = dataset
        rows = [row for board in dataset["boards"] for row in board["rows"]]
        sizes = [len(dataset["boards"]), len(rows), sum(len(row["seeds"]) for row in rows)]
        listed.append({name: dataset[name] for name in ("name", "fingerprint")} | {"sizes": sizes})
    elements = []
    for name, content in {"data": {**payload, "datasets": listed}, **contents}.items():
        text = embedded_json(content)
        elements.append(f'<script type="application/json" id="{name}">{text}</script>')
    return "\n".join(elements)


def embedded_json(payload: Mapping[str, Any]) -> str:
    """Write JSON that cannot end the script element it stands in; it must hold no nan."""
    # compact: with twenty methods the data is most of the page
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")
