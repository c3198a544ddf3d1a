"""Count the house's own style measures over the product code, at one or more revisions.

Run it from a checkout: `python tools/style_counts.py 98e615a HEAD` prints a column per revision,
`python tools/style_counts.py` the working tree alone. Product code is the Python of benchmark,
methods and datamodules; shares are of non-blank lines. `formatted` is the number of lines after
`ruff format` with the present settings, so that revisions with different line lengths can be
compared.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("benchmark", "methods", "datamodules")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LONGEST_LINE = 100


def git(*words: str) -> str:
    """Standard output of a git command."""
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout


def sources(revision: str) -> Iterator[str]:
    """Text of every product file at a revision; an empty revision is the working tree."""
    if not revision:
        for package in PACKAGES:
            for path in sorted(Path(package).rglob("*.py")):
                yield path.read_text(encoding="utf-8")
        return
    for path in git("ls-tree", "-r", "--name-only", revision, *PACKAGES).splitlines():
        if path.endswith(".py"):
            yield git("show", f"{revision}:{path}")


def formatted_lines(text: str) -> int:
    """Lines of a file after `ruff format` with the settings of this checkout."""
    command = [sys.executable, "-m", "ruff", "format", "--quiet", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return len(done.stdout.splitlines())


def public_functions(tree: ast.Module) -> Iterator[str]:
    """Names of functions and methods that do not start with an underscore."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS) and not node.name.startswith("_"):
            yield node.name


def count(revision: str) -> dict[str, float]:
    """The measures of one revision."""
    files = lines = formatted = filled = comments = long = comprehensions = 0
    names: list[str] = []
    for text in sources(revision):
        tree, rows = ast.parse(text), text.splitlines()
        files += 1
        lines += len(rows)
        formatted += formatted_lines(text)
        filled += sum(bool(row.strip()) for row in rows)
        comments += sum(row.strip().startswith("#") for row in rows)
        long += sum(len(row) > LONGEST_LINE for row in rows)
        comprehensions += sum(isinstance(node, COMPREHENSIONS) for node in ast.walk(tree))
        names += public_functions(tree)
    bare = sum("_" not in name for name in names)
    return {
        "files": files,
        "lines": lines,
        "formatted": formatted,
        "comprehensions per 100 lines": 100 * comprehensions / filled,
        "comment lines, per cent": 100 * comments / filled,
        f"lines over {LONGEST_LINE} characters": long,
        "public functions": len(names),
        "one-word public function names, per cent": 100 * bare / len(names),
    }


def main(revisions: list[str]) -> None:
    """Print a row per measure and a column per revision."""
    columns = {revision or "working tree": count(revision) for revision in revisions or [""]}
    print(f"{'':42}" + "".join(f"{name:>14}" for name in columns))
    for measure in next(iter(columns.values())):
        values = (column[measure] for column in columns.values())
        print(f"{measure:42}" + "".join(f"{value:>14.6g}" for value in values))


if __name__ == "__main__":
    main(sys.argv[1:])
