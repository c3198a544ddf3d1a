"""Makefile: which variables it knows, and when it installs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        environment.pop(name, None)
    line = ["make", "-n", *words]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("words", [("refresh", "CHEK=1"), ("test", "args=-x"), ("METHOD=sgma",)])
def test_an_unknown_variable_of_its_own_targets_is_an_error(words: tuple[str, ...]) -> None:
    done = make(ROOT, *words)
    assert done.returncode == 2 and "There is no variable" in done.stderr


def test_commands_are_given_every_variable() -> None:
    done = make(ROOT, "-o", ".venv/.installed", "bench", "METHODS=a", "lr=3")
    assert "bench 'METHODS=a' 'lr=3'" in done.stdout


def test_only_another_lock_installs(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    assert "pip install" in make(tmp_path, "install").stdout
    (tmp_path / ".venv").mkdir()
    lock, stamp = tmp_path / "requirements.lock", tmp_path / ".venv" / ".installed"
    shutil.copy(lock, stamp)
    later = stamp.stat().st_mtime + 60
    for touched in (lock, tmp_path / "pyproject.toml"):
        os.utime(touched, (later, later))
    assert "pip install" not in make(tmp_path, "install").stdout
    lock.write_text(lock.read_text() + "# another\n")
    os.utime(lock, (later, later))
    assert "pip install" in make(tmp_path, "install").stdout


def test_an_environment_that_works_is_not_cleared(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "uv"):
        (tmp_path / ".venv" / "bin" / name).write_text('#!/bin/sh\necho "$0 $*" >> called\n')
        (tmp_path / ".venv" / "bin" / name).chmod(0o755)
    kept = tmp_path / ".venv" / "kept"
    kept.touch()
    line = ["make", "install", "PYTHON=true"]
    subprocess.run(line, cwd=tmp_path, capture_output=True, check=True)
    assert kept.exists()
    stamp, lock = tmp_path / ".venv" / ".installed", tmp_path / "requirements.lock"
    assert stamp.read_bytes() == lock.read_bytes()
    assert "pip install --compile-bytecode --require-hashes" in (tmp_path / "called").read_text()
