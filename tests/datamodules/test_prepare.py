"""Miniatures that are made on first use, on a disk that is full at first."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.prepare import ensure_store
from datamodules.store.scene_store import SceneStore
from tests.support.full_disk import files_end_at
from usererror import UserError


def test_a_full_disk_is_one_line_and_leaves_nothing_to_stumble_over(tmp_path: Path) -> None:
    with (
        files_end_at(4000),
        pytest.raises(UserError, match=r"could not be written whole .* MB free") as error,
    ):
        ensure_store("vaihingen_miniature", tmp_path, size="test")
    assert "\n" not in str(error.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    ensure_store("vaihingen_miniature", tmp_path, size="test")
    assert not SceneStore.open(tmp_path / "vaihingen_miniature").verify()
