"""Runs without the example pictures that end them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_pictures() -> Iterator[None]:
    """Drawing takes as long as scoring; tests of the pictures and of the README draw them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.tracking.example_images.store_examples", lambda *given: None)
        yield
