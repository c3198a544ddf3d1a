"""The table of methods is complete, and agrees with the configurations and the ledgers."""

import re

import pytest

from benchmark.choices import CONFIGS, ROOT, methods
from benchmark.experiment.config import read_section
from benchmark.method_table import method_entry, method_table


def test_every_shipped_method_stands_there_once_with_its_family() -> None:
    table = method_table()
    assert set(table) == set(methods())
    assert len({entry.name for entry in table.values()}) == len(table)
    # members stand together, which is how readers find them
    families = [entry.family for entry in table.values()]
    changes = sum(one != other for one, other in zip(families, families[1:], strict=False))
    assert changes == len(set(families)) - 1


@pytest.mark.parametrize("method", methods())
def test_what_it_says_is_what_the_configuration_and_the_ledger_say(method: str) -> None:
    entry, config = method_entry(method), CONFIGS / "method" / f"{method}.yaml"
    cell = read_section(config, "cell")
    standing_on = config.with_name(f"{cell['method']}.yaml")
    cell, model = (
        {**read_section(standing_on, name), **read_section(config, name)}
        for name in ("cell", "model")
    )
    assert (entry.kind == "control") == bool(cell.get("control"))
    assert entry.idea
    folder = model["class_path"].split(".")[1]
    ledger = (ROOT / "methods" / folder / "README.md").read_text(encoding="utf-8")
    assert f"`{method}`" in ledger
    if entry.kind == "published":
        # a paper has an address, which the ledger names
        number = re.sub(r".*org/(abs/)?", "", entry.address)
        assert number and number in ledger and entry.year.isdigit() and entry.code_licence
