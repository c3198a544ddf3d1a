"""`imss report`: gather what the records say and write one page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.formats.files import write_texts
from benchmark.report.page import build_page
from benchmark.report.payload import gather
from usererror import UserError

PAGE = "index.html"


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Write the page; an empty folder of results gives a page that says how to fill it."""
    if arguments.samples and arguments.samples < 100:
        raise UserError(
            f"--samples {arguments.samples} is too few for an interval; use at least 100, or 0 for none."
        )
    content = gather(
        Path(arguments.runs).expanduser(),
        arguments.data,
        arguments.samples,
        Path(arguments.complexity).expanduser(),
    )
    path = write_texts(Path(arguments.out).expanduser(), {PAGE: build_page(content)})[0]
    boards = [board for data in content["datasets"] for board in data["boards"]]
    runs = sum(len(row["seeds"]) for board in boards for row in board["rows"])
    if not runs:
        print("There is no run record to show yet; make one with: make bench")
    size = path.stat().st_size / 1e6
    print(
        f"Report: {path} ({size:.1f} MB, {len(content['datasets'])} datasets, {runs} runs); open it in a browser"
    )
