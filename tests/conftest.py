"""The order of the suite."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that waits for a queue for minutes: other workers have all else."""
    items.sort(key=lambda item: item.path.name != "test_sweeps.py")
