"""What tests of the report do to its page in a browser."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from benchmark.__main__ import main
from tests.support.browser import Page


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


def phone(browser: Page, width: int) -> None:
    """Give the page the width of a phone; 0 takes it back."""
    browser.call("Emulation.clearDeviceMetricsOverride")
    if width:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
