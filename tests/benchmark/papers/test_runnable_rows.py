"""Every row of the papers' tables is a METHOD, or has a ledger that says why it is none."""

from __future__ import annotations

import pytest

from benchmark.choices import ROOT, methods
from benchmark.method_table import method_entry
from benchmark.papers.measured import MeasuredRuns
from benchmark.papers.printed_numbers import read_paper_results

# what no method is: the cost of an encoder by itself
NO_METHOD = {"backbone"}


def printed_rows() -> list[tuple[str, str, str, str]]:
    """Source, table, method and variant of every row of every table."""
    found = set()
    for number in read_paper_results().numbers:
        if number.method not in NO_METHOD:
            found.add((number.source, number.table, number.method, number.variant))
    return sorted(found)


@pytest.mark.parametrize(("source", "table", "method", "variant"), printed_rows())
def test_a_printed_row_names_a_method_or_the_ledger_that_says_why_not(
    source: str, table: str, method: str, variant: str
) -> None:
    name = MeasuredRuns({}).suite_name("method", f"{method}/{variant}", table)
    name = name or (method if variant == "-" else "")
    if "/" in name:
        ledger = (ROOT / name).read_text(encoding="utf-8")
        assert f"{method} is not ported" in ledger.lower().replace("**", "")
        return
    assert name in methods(), f"{source} {table}: {method}/{variant}"
    # a library's network of the same name is another one
    assert method_entry(name).source != "smp"
