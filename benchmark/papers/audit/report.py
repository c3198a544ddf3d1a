"""`imss audit`: recompute what papers derive from their own printed numbers; results/audit.csv and .md."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmark.formats.files import write_texts
from benchmark.papers.audit.checks import KINDS, Check
from benchmark.papers.audit.claims import check_claims
from benchmark.papers.audit.rules import RULES
from benchmark.papers.printed_numbers import CLAIMS, REPORTED, Reported

COLUMNS = ("paper", "table", "location", "rule", "kind", "printed", "recomputed", "arithmetic")
OUTCOMES = ("agree", "rounding", "fail")
SAYS = {rule.name: rule.says for rule in RULES} | {
    "claim": "A number quoted in a sentence is that of the cells which the sentence speaks of."
}
PREAMBLE = """# The papers' numbers against each other

Written by `make audit` from `results/reported`. Nothing was measured here: every line sets a printed number beside the
one that other printed numbers of the same paper give, with the rule and the arithmetic. A cell agrees when it lies
within half a unit of its last digit. How the rules read the tables, and what they leave out, is in `docs/audit.md`.
"""


def audit(reported: Reported, claims: Path = REPORTED / CLAIMS) -> list[Check]:
    """All checks, in the order of the rules; prose last."""
    return [check for rule in RULES for check in rule.checks(reported)] + list(
        check_claims(reported, claims)
    )


def findings(checks: Iterable[Check]) -> list[Check]:
    """The checks to be printed."""
    return [check for check in checks if check.listed]


def counts(checks: Iterable[Check]) -> list[tuple[str, ...]]:
    """Paper, table, rule, checked and the three outcomes: how many cells each rule checked, how they came out."""
    tally: dict[tuple[str, str, str], Counter[str]] = {}
    for check in checks:
        if check.counted:
            tally.setdefault((check.paper, check.counted, check.rule), Counter())[
                check.outcome
            ] += 1
    return [
        (*key, *map(str, (outcomes.total(), *(outcomes[outcome] for outcome in OUTCOMES))))
        for key, outcomes in tally.items()
    ]


def write_audit(directory: Path, reported: Reported, checks: Sequence[Check]) -> list[Path]:
    """Write `audit.csv` and `audit.md`; return the paths.

    Raises:
        UserError: the directory cannot be written.
    """
    contents = {"audit.csv": as_csv(findings(checks)), "audit.md": as_markdown(reported, checks)}
    return write_texts(directory, contents)


def as_csv(listed: Iterable[Check]) -> str:
    """One row per finding."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(check, name) for name in COLUMNS] for check in listed)
    return stream.getvalue()


def as_markdown(reported: Reported, checks: Sequence[Check]) -> str:
    """Kinds and rules, counts, then the findings of every table."""
    listed = findings(checks)
    kinds = Counter(check.kind for check in listed)
    parts = [
        PREAMBLE,
        _table(
            ("kind", "meaning", "findings"),
            [(kind, says, str(kinds[kind])) for kind, says in KINDS.items()],
        ),
        _table(("rule", "what it says"), list(SAYS.items())),
        "## What was checked\n",
        _table(
            ("paper", "table", "rule", "checked", *OUTCOMES),
            [(reported.label("source", paper), *rest) for paper, *rest in counts(checks)],
        ),
    ]
    for paper in dict.fromkeys(cell.source for cell in reported.cells):
        parts.append(f"## {reported.label('source', paper)}\n")
        own = [check for check in listed if check.paper == paper]
        for table in sorted({check.table for check in own}, key=_order):
            parts.append(f"### Table {table}\n")
            rows = [
                (
                    name(reported, check),
                    check.printed,
                    check.recomputed,
                    check.kind,
                    check.rule,
                    check.arithmetic,
                )
                for check in own
                if check.table == table
            ]
            parts.append(
                _table(("what", "printed", "recomputed", "kind", "rule", "arithmetic"), rows)
            )
    return "\n".join(parts)


def place(reported: Reported, check: Check) -> str:
    """Paper, table and cell in words."""
    return f"{reported.label('source', check.paper)}, Table {check.table}, {name(reported, check)}"


def name(reported: Reported, check: Check) -> str:
    """The cell in words for display; a section, or the whole table."""
    cell = check.cell
    if cell is None:
        return (
            check.location.removeprefix("text=")
            if check.location.startswith("text=")
            else "the whole table"
        )
    columns = ("dataset", "backbone", "method", "variant", "combo", "metric")
    words = [
        reported.label(column, getattr(cell, column))
        for column in columns
        if getattr(cell, column) != "-"
    ]
    return ", ".join(
        words
        if cell.kind in ("score", "cost", "summary")
        else [*words, cell.kind.replace("_", " ")]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _order(table: str) -> int:
    """Roman numerals in order, other names first."""
    numerals = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
    return numerals.index(table) if table in numerals else -1
