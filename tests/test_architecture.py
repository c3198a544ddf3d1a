"""What `lint-imports` does not see: the lock file, and how many files a folder holds."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_FILES = 12


def test_the_lock_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "--hash=sha256:" in lock
    for word in ("http://", "https://", "--index-url", "--find-links"):
        assert word not in lock


@pytest.mark.parametrize("package", ["benchmark", "datamodules", "imss", "methods"])
def test_a_folder_can_be_overlooked(package: str) -> None:
    """No folder holds more than a dozen modules."""
    for folder in [ROOT / package, *(ROOT / package).rglob("*/")]:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MOST_FILES, folder
