"""Runs without the example pictures that end them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    """Drawing takes as long as scoring; other modules of the same process do draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.tracking.example_images.store_examples", lambda *given: None)
        yield
