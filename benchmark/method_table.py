"""What readers want to know of a method: its name, its family, its paper (`configs/methods.csv`).

The first line of a family has the columns that hold for all of it: year, source, address, licence
of the authors' code, idea. Other lines leave them empty.
"""

import csv
from dataclasses import dataclass
from functools import cache

from benchmark.choices import CONFIGS


@dataclass(frozen=True)
class MethodEntry:
    """A line of the table, completed by the first one of its family.

    Attributes:
        method: what METHOD names.
        name: as articles print it.
        family: what readers call the method and its variants together.
        kind: `published` (a row of a paper), `control` (a baseline), `variant` of either, or `own`.
        year: of the paper; empty without one.
        source: where the paper stands.
        address: of the paper, or of the library that has the network.
        code_licence: of the authors' code.
        idea: in a few words, as Markdown.
    """

    method: str
    name: str
    family: str
    kind: str
    year: str = ""
    source: str = ""
    address: str = ""
    code_licence: str = ""
    idea: str = ""


@cache
def method_table() -> dict[str, MethodEntry]:
    """Read the shipped methods, the first of each family before its other members."""
    table: dict[str, MethodEntry] = {}
    firsts: dict[str, dict[str, str]] = {}
    with (CONFIGS / "methods.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            first = firsts.setdefault(line["family"], line)
            own = {key: value for key, value in line.items() if value}
            table[line["method"]] = MethodEntry(**{**first, **own})
    return table


def method_entry(method: str) -> MethodEntry:
    """Look a method up; one of a user's own has a name and nothing else.

    Example:
        >>> entry = method_entry("sgma_additive")
        >>> entry.name, entry.family, entry.kind, entry.year
        ('SGMA, additive', 'SGMA', 'variant', '2026')
        >>> method_entry("mine").name
        'mine'
    """
    return method_table().get(method) or MethodEntry(method, method, method, "own")
