"""What the tests of the published datasets share: a copy to spoil, and imports of it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules.adapters.registry import import_named_dataset
from datamodules.store.scene_store import SceneStore


@pytest.fixture
def copy(plain: Path, tmp_path: Path) -> Path:
    """Return a copy of the module's fixture `plain`."""
    return Path(shutil.copytree(plain, tmp_path / "copy"))


@pytest.fixture
def load(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., SceneStore]:
    """Return a function that imports TILES of the module's DATASET into a store of its own."""
    number = itertools.count()

    def load(source: Path, tiles: Any = request.module.TILES, **options: Any) -> SceneStore:
        root = tmp_path / f"store{next(number)}"
        return import_named_dataset(request.module.DATASET, source, root, tiles=tiles, **options)

    return load
