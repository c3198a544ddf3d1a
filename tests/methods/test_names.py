"""`from methods.<name> import <Class>`: the class that the shipped configuration names, on use."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import choices
from benchmark.experiment.config import import_class, read_section

ROOT = Path(__file__).resolve().parents[2]


def class_paths() -> list[str]:
    found = set()
    for path in (choices.CONFIGS / "method").glob("*.yaml"):
        found.add(str(read_section(path, "model").get("class_path", "")))
    return sorted(found - {""})


@pytest.mark.parametrize("path", class_paths())
def test_a_method_is_imported_from_its_package(path: str) -> None:
    package, _, name = path.replace(".module.", ".").rpartition(".")
    assert getattr(importlib.import_module(package), name) is import_class(path)
    with pytest.raises(AttributeError, match="nosuch"):
        _ = importlib.import_module(package).nosuch


def test_a_package_of_a_method_imports_no_torch() -> None:
    code = "import sys, methods.sgma, methods.gemmnet; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_timm_does_not_import_wandb() -> None:
    # whose temporary folders a killed process would leave
    code = "import sys, methods.base; sys.exit('wandb' in sys.modules or 'timm' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
