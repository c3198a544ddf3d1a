"""What `pip install` puts on a machine works without the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("benchmark", "datamodules", "methods", "configs")
FILES = ("pyproject.toml", "README.md", "LICENSE", "usererror.py")
BUILD = "import setuptools.build_meta as backend; backend.build_wheel('out')"


def test_a_wheel_holds_the_configurations_and_works_anywhere(tmp_path: Path) -> None:
    source, installed, elsewhere = tmp_path / "source", tmp_path / "installed", tmp_path / "else"
    elsewhere.mkdir()
    for name in SOURCES:
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=leave)
    for name in FILES:
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-c", BUILD], cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(installed)
    shipped = {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.yaml")}
    copied = installed / "benchmark" / "configs"
    assert {path.relative_to(copied) for path in copied.rglob("*.yaml")} == shipped
    # split lists, class tables and what releases say of themselves
    lists = {path.name for path in (ROOT / "datamodules" / "splits").iterdir() if path.is_file()}
    assert lists == {path.name for path in (installed / "datamodules" / "splits").iterdir()}
    # no folder of a name that another package may have
    assert not (installed / "configs").exists()
    # without torch, which takes its time to import
    code = (
        "import benchmark; from benchmark.experiment.config import config_files; "
        "from benchmark.experiment.identity import git_state; "
        "files = config_files('mobanet', 'potsdam', 'mobanet'); "
        "print(benchmark.__file__, len(files), all(file.is_file() for file in files), git_state())"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    line = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(line, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [str(installed / "benchmark" / "__init__.py"), "5", "True", "{}"]
