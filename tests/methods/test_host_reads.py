"""Where methods read a value of a tensor, for which the host waits until a GPU has come so far."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

METHODS = Path(__file__).resolve().parents[2] / "methods"
READS = {"item", "tolist", "cpu", "numpy"}
KNOWN = {
    # which samples have which modality decides what a step computes, and is known to the host
    ("base.py", "available"),
    ("parts/modality_dropout.py", "draw_subsets"),
    ("parts/network.py", "all_present"),
    ("gemmnet/module.py", "synthesise_batch"),
    ("gemmnet/network.py", "synthesise"),
    # once in a training
    ("metars/whitening.py", "fit"),
    # of a checkpoint, not of a step
    ("frozen_vit.py", "hash_tensors"),
    ("frozen_vit.py", "set_extra_state"),
}


def calls_of(node: ast.AST, names: set[str]) -> bool:
    """Tell whether this code calls a method of one of these names without an argument."""
    for part in ast.walk(node):
        if not isinstance(part, ast.Call) or part.args:
            continue
        if isinstance(part.func, ast.Attribute) and part.func.attr in names:
            return True
    return False


def reading_functions(source: str) -> set[str]:
    """Name the functions that read values, or decide by all or any of them."""
    found = set()
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        decisions: list[ast.AST] = []
        for part in ast.walk(function):
            # Lightning reads what its bar would show whenever a callback looks at any metric
            if isinstance(part, ast.keyword) and part.arg == "prog_bar":
                found.add(function.name)
            if isinstance(part, ast.If | ast.IfExp | ast.While | ast.Assert):
                decisions.append(part.test)
            elif isinstance(part, ast.Call):
                called = getattr(part.func, "id", "")
                decisions += part.args if called in ("bool", "int", "float") else []
        decides = any(calls_of(part, {"all", "any"}) for part in decisions)
        if decides or calls_of(function, READS):
            found.add(function.name)
    return found


def test_no_step_reads_a_value_but_where_it_has_to() -> None:
    found = set()
    for path in METHODS.rglob("*.py"):
        for function in reading_functions(path.read_text(encoding="utf-8")):
            found.add((path.relative_to(METHODS).as_posix(), function))
    assert found == KNOWN


@pytest.mark.parametrize(
    "line",
    [
        "x.item()",
        "y = x.cpu()",
        "if x.any(): pass",
        "bool((x > 0).all())",
        "x.tolist()[0]",
        "log(x, prog_bar=True)",
    ],
)
def test_the_check_notices(line: str) -> None:
    assert reading_functions(f"def step(x):\n    {line}\n") == {"step"}
    assert not reading_functions("def step(x):\n    return x.all(0) & x.any()\n")
