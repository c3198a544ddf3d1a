"""A source of three scenes for the tests of the importer."""

from __future__ import annotations

import pytest


@pytest.fixture
def source(tmp_path, write_folder):
    write_folder(tmp_path / "source")
    return tmp_path / "source"
