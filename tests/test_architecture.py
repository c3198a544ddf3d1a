"""Who may import whom (docs/architecture.md), read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GROUND = {"methods": {"benchmark", "datamodules"}, "datamodules": {"benchmark", "methods"}}


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", GROUND)
def test_methods_and_datamodules_stand_side_by_side(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not imported(path) & GROUND[package], path


def test_the_lock_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "--hash=sha256:" in lock
    assert not [
        word for word in ("http://", "https://", "--index-url", "--find-links") if word in lock
    ]
