"""How long a browser takes to show the report of many records."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.support.browser import Page, chromium
from tests.support.report_page import write_page
from tests.support.toy_records import toy_record, toy_result

ROWS, DATASETS = 40, 5
NAVIGATION = "performance.getEntriesByType('navigation')[0].loadEventEnd"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


def load(rounds: int) -> None:
    """Milliseconds from the address to the drawn page, and to its first text; the least counts."""
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder)) as browser:
        path = write_page(many_runs(Path(folder) / "runs"), Path(folder) / "page")
        loads = [loaded(browser, path) for _ in range(rounds)]
        size = path.stat().st_size / 1e6
    ready, painted = (min(times) for times in zip(*loads, strict=True))
    print(
        f"  {ROWS} rows on each of {DATASETS} datasets, {size:.1f} MB: first text after "
        f"{painted:.0f} ms, drawn after {ready:.0f} ms (limit 1000 ms)"
    )


def many_runs(root: Path) -> Path:
    """Write records of `ROWS` methods on each dataset, one seed of 7 subsets and 12 scenes."""
    for data in range(DATASETS):
        for number in range(ROWS):
            result = toy_result(0.5 + 0.4 * number / ROWS, number)
            changes = {"data": f"data{data}", "group": f"{data}-{number:02d}-group"}
            toy_record(root / f"data{data}", f"method{number:02d}", 0, result, **changes)
    return root


def loaded(browser: Page, path: Path) -> tuple[float, float]:
    """Open the page anew; milliseconds until it is drawn, and until its first text."""
    browser.open(path)
    browser.wait(f"{NAVIGATION} > 0")
    return browser.run(NAVIGATION), browser.run(PAINT)
