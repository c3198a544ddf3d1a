"""Miniatures that are made on first use, on a disk that is full at first."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from datamodules.adapters.registry import import_named_dataset
from datamodules.miniature.registry import Miniature
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


def test_two_processes_make_a_miniature_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    original = Miniature.write_source

    def write(self: Miniature, root: Path, *given: Any, **named: Any) -> None:
        written.append(root)
        original(self, root, *given, **named)

    monkeypatch.setattr(Miniature, "write_source", write)
    # the lock is of the operating system: threads stand for processes
    with ThreadPoolExecutor(2) as pool:
        made = partial(ensure_store, "vaihingen_miniature", tmp_path, size="test")
        for done in [pool.submit(made), pool.submit(made)]:
            done.result()
    assert len(written) == 1
    assert not list(tmp_path.rglob("*.part"))


def test_a_store_of_an_earlier_version_is_told_at_every_start(
    tmp_path: Path, write_folder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Voids that its import did not ask for stay in it until it is imported again."""
    write_folder(tmp_path / "source")
    store = import_named_dataset("mine", tmp_path / "source", tmp_path / "stores")
    capsys.readouterr()
    ensure_store("mine", tmp_path / "stores")
    assert capsys.readouterr().out == ""
    earlier = {key: store.info[key] for key in store.info if key not in ("align", "tables")}
    (store.root / "dataset.json").write_text(json.dumps(earlier))
    ensure_store("mine", tmp_path / "stores")
    assert f"make data DATA=mine SOURCE={tmp_path}/source FORCE=1" in capsys.readouterr().out
    again = import_named_dataset("mine", tmp_path / "source", tmp_path / "stores", force=True)
    assert again.info["align"] == "check"
