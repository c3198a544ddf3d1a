"""A method added by the text of CONTRIBUTING.md alone, in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("benchmark", "configs", "datamodules", "docs", "examples", "methods", "tests", "tools")
LINKED = ("results", "requirements.lock", ".gitignore")


def code_blocks() -> dict[str, str]:
    """Files that CONTRIBUTING.md spells out, by the path in their first line."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", text, flags=re.S)
    return dict(blocks)


def run_python(folder: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""}
    line = [sys.executable, *words]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the new method's files, and nothing else changed."""
    root = tmp_path_factory.mktemp("extended")
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        shutil.copytree(ROOT / name, root / name, ignore=unwanted)
    for path in ROOT.glob("*.*"):
        if path.suffix in (".md", ".py", ".toml", ".cff"):
            shutil.copy(path, root)
    for name in LINKED:
        (root / name).symlink_to(ROOT / name)
    for name, text in code_blocks().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_one_folder_one_config_one_test() -> None:
    folders = sorted(Path(name).parent.as_posix() for name in code_blocks())
    assert folders == ["configs/method", "methods/mine", "methods/mine", "tests/methods/mine"]


def test_it_is_listed_and_nothing_else_needs_a_change(extended: Path) -> None:
    """It passes the contract; what knows all methods does not miss its records, costs or ledger."""
    assert " mine," in run_python(extended, "-m", "benchmark", "list")
    tests = ["tests/methods/mine", "tests/test_refresh.py", "tests/test_documents.py"]
    tests += ["tests/benchmark/papers/test_costs.py"]
    told = run_python(extended, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert "passed" in told and "failed" not in told
