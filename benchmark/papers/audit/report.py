"""The audit of what papers derive from their own printed numbers: results/audit.csv and .md."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchmark.formats.files import csv_text, write_texts
from benchmark.formats.markdown import markdown_rows
from benchmark.papers.audit.checks import KINDS, Check
from benchmark.papers.audit.claims import CLAIMS, check_claims
from benchmark.papers.audit.rules import RULES
from benchmark.papers.printed_numbers import ABSOLUTE, PaperResults

COLUMNS = ["paper", "table", "location", "rule", "kind", "printed", "recomputed", "arithmetic"]
OUTCOMES = ("agree", "rounding", "fail")
TABLES = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
SAYS = {name: " ".join((rule.__doc__ or "").split()) for name, rule in RULES.items()}
SAYS["claim"] = "A number quoted in a sentence is that of the cells which the sentence speaks of."
PREAMBLE = """# The papers' numbers against each other

Written by `make audit` from `results/reported`. Nothing was measured here: every line sets a \
printed number beside the
one that other printed numbers of the same paper give, with the rule and the arithmetic. A cell \
agrees when it lies
within half a unit of its last digit. How the rules read the tables, and what they leave out, is \
in `docs/audit.md`.
"""


def audit_papers(results: PaperResults, claims: Path = CLAIMS) -> list[Check]:
    """Make all checks, in the order of the rules; prose last."""
    # the rules do not know their names, which are those of the committed files
    checks = []
    for name, rule in RULES.items():
        checks += [replace(check, rule=name) for check in rule(results)]
    return [*checks, *check_claims(results, claims)]


def select_findings(checks: Iterable[Check]) -> list[Check]:
    """Select the checks to be printed."""
    return [check for check in checks if check.listed]


def count_outcomes(checks: Iterable[Check]) -> list[tuple[str, ...]]:
    """Count by paper, table and rule: how many numbers were checked, and the three outcomes."""
    tally: dict[tuple[str, str, str], Counter[str]] = {}
    for check in checks:
        if check.counted:
            key = check.paper, check.counted, check.rule
            tally.setdefault(key, Counter())[check.outcome] += 1
    rows = []
    for key, outcomes in tally.items():
        counts = [outcomes.total(), *map(outcomes.__getitem__, OUTCOMES)]
        rows.append((*key, *map(str, counts)))
    return rows


def write_audit(directory: Path, results: PaperResults, checks: Sequence[Check]) -> list[Path]:
    """Write `audit.csv` (one row per finding) and `audit.md`; return the paths."""
    csv = csv_text(pd.DataFrame(map(vars, select_findings(checks)))[COLUMNS])
    return write_texts(directory, {"audit.csv": csv, "audit.md": format_audit(results, checks)})


def format_audit(results: PaperResults, checks: Sequence[Check]) -> str:
    """Format kinds and rules, counts, then the findings of every table, as Markdown."""
    listed = select_findings(checks)
    found = Counter(check.kind for check in listed)
    kinds = [(kind, says, str(found[kind])) for kind, says in KINDS.items()]
    counts = [(results.label("source", paper), *row) for paper, *row in count_outcomes(checks)]
    parts = [
        PREAMBLE,
        _table(("kind", "meaning", "findings"), kinds),
        _table(("rule", "what it says"), SAYS.items()),
        "## What was checked\n",
        _table(("paper", "table", "rule", "checked", *OUTCOMES), counts),
    ]
    # every paper gets its heading, in the order of the files, even without a finding
    tables: dict[str, dict[str, list[tuple[str, ...]]]] = {}
    for number in results.numbers:
        tables.setdefault(number.source, {})
    for check in listed:
        texts = (check.printed, check.recomputed, check.kind, check.rule, check.arithmetic)
        row = (describe_number(results, check), *texts)
        tables[check.paper].setdefault(check.table, []).append(row)
    head = ("what", "printed", "recomputed", "kind", "rule", "arithmetic")
    for paper, rows in tables.items():
        parts.append(f"## {results.label('source', paper)}\n")
        # other names than numerals first
        order = sorted(rows, key=lambda table: TABLES.index(table) if table in TABLES else -1)
        for table in order:
            parts += [f"### Table {table}\n", _table(head, rows[table])]
    return "\n".join(parts)


def describe_finding(results: PaperResults, check: Check) -> str:
    """Name paper, table and number, the rule and the arithmetic, in one line."""
    place = f"{results.label('source', check.paper)}, Table {check.table}"
    what = describe_number(results, check)
    return f"{place}, {what}: {check.rule} ({check.kind}): {check.arithmetic}"


def describe_number(results: PaperResults, check: Check) -> str:
    """Name a checked number in display words; a section, or the whole table."""
    number = check.number
    if number is None:
        _, _, section = check.location.partition("text=")
        return section or "the whole table"
    words = []
    for column in ("dataset", "backbone", "method", "variant", "combo", "metric"):
        if (value := getattr(number, column)) != "-":
            words.append(results.label(column, value))
    if number.kind not in ABSOLUTE:
        words.append(number.kind.replace("_", " "))
    return ", ".join(words)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return markdown_rows(head, rows, "l" * len(head)) + "\n"
