from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from datamodules.adapters.registry import import_named_dataset
from datamodules.store.scene_store import Scene, SceneStore, dataset_fingerprint, write_text_whole
from usererror import UserError


@pytest.fixture
def store(tmp_path, write_folder):
    write_folder(tmp_path / "source")
    return import_named_dataset("mine", tmp_path / "source", tmp_path / "stores")


def test_open_gives_what_the_files_say(store):
    info = json.loads((store.root / "dataset.json").read_text())
    assert info == store.info
    assert info["format"] == 1 and info["ignore_index"] == 255
    assert store.fingerprint == info["fingerprint"] and len(store.fingerprint) == 64
    header, *rows = (store.root / "scenes.csv").read_text().splitlines()
    assert (
        header == "id,height,width,split_standard,rgb,rgb_sha256,dsm,dsm_sha256,label,label_sha256"
    )
    assert [row.split(",")[:4] for row in rows] == [
        [s.id, "40", "50", s.splits["split_standard"]] for s in store.scenes
    ]
    assert all(
        path.is_absolute() and path.is_file()
        for scene in store.scenes
        for path in scene.paths.values()
    )


def test_opening_imports_nothing_heavy():
    heavy = {"torch", "rasterio", "numpy", "pandas", "pydantic", "rich", "lightning"}
    code = f"import sys, datamodules.store.scene_store; print({heavy} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "set()"


def test_a_moved_store_still_opens(store, tmp_path):
    label = store.scenes[0].paths["label"].relative_to(store.root)
    moved = SceneStore.open(Path(shutil.move(store.root, tmp_path / "moved")))
    assert moved.scenes[0].paths["label"] == tmp_path / "moved" / label
    assert moved.verify() == []


def test_absent_stores_say_how_to_import(tmp_path):
    with pytest.raises(UserError, match=r"no dataset 'mine' .*make data DATA=mine SOURCE="):
        SceneStore.open(tmp_path / "mine")


def test_half_imports_are_refused_with_the_command_to_resume(store, tmp_path):
    (store.root / "dataset.json").unlink()
    with pytest.raises(
        UserError, match=rf"was not finished: .*make data DATA=mine SOURCE={tmp_path}/source"
    ):
        SceneStore.open(store.root)
    (store.root / "import.jsonl").write_text("{")
    with pytest.raises(UserError, match="was not finished"):
        SceneStore.open(store.root)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("dataset.json", "{", "is damaged"),
        ("dataset.json", "[]", "is damaged"),
        ("dataset.json", '{"format": 99}', "has format 99, this version reads format 1"),
        ("dataset.json", '{"format": 1}', "is damaged"),
        ("scenes.csv", "id,height\na,b\n", "is damaged"),
        ("scenes.csv", None, "is damaged"),
    ],
)
def test_damaged_stores_are_one_line(name, content, text, store):
    (store.root / name).unlink() if content is None else (store.root / name).write_text(content)
    with pytest.raises(UserError, match=text) as caught:
        SceneStore.open(store.root)
    assert "FORCE=1" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "{}", "[" * 5000, '{"a": []}'])
def test_damaged_statistics_are_one_line(store, text):
    (store.root / "statistics.json").write_text(text)
    with pytest.raises(UserError, match=r"statistics\.json cannot be read"):
        SceneStore.open(store.root).statistics  # noqa: B018


def test_splits(store):
    parts = store.split("split_standard")
    assert list(parts) == ["train", "val", "test"]
    assert sum(map(len, parts.values())) == 3
    with pytest.raises(UserError, match="no split 'split_mine'; it has: split_standard"):
        store.split("split_mine")


def test_verify_finds_every_kind_of_damage(store):
    assert store.verify() == []
    label, rgb = store.scenes[0].paths["label"], store.scenes[1].paths["rgb"]
    content = bytearray(label.read_bytes())
    content[-1] ^= 1
    label.write_bytes(content)
    rgb.unlink()
    found = store.verify()
    assert len(found) == 2
    assert found[0].startswith("s0 label:") and "changed" in found[0]
    assert found[1].startswith("s1 rgb:") and "missing" in found[1]


def test_fingerprint_moves_with_everything_that_is_data_and_nothing_else():
    info = {
        "classes": [1],
        "modalities": {"rgb": 1},
        "labels": ["label"],
        "title": "a",
        "warnings": [],
    }
    scenes = [Scene("a", 1, 1, {"s": "train"}), Scene("b", 1, 1, {"s": "test"})]
    pixels = {"a": {"rgb": "1"}, "b": {"rgb": "2"}}
    first = dataset_fingerprint(info, scenes, pixels)
    assert (
        dataset_fingerprint(info | {"title": "b", "warnings": ["x"]}, scenes[::-1], pixels) == first
    )
    changed = [
        (info | {"classes": [2]}, scenes, pixels),
        (info | {"modalities": {"dsm": 1}}, scenes, pixels),
        (info, [scenes[0], Scene("b", 1, 1, {"s": "val"})], pixels),
        (info, [scenes[0], Scene("b", 1, 1, {"s": "test"}, {"weather": "fog"})], pixels),
        (info, scenes[:1], pixels),
        (info, scenes, pixels | {"b": {"rgb": "3"}}),
    ]
    assert len({first, *(dataset_fingerprint(*change) for change in changed)}) == 1 + len(changed)


def test_texts_are_written_whole(tmp_path):
    path = tmp_path / "a.json"
    write_text_whole(path, "one")
    write_text_whole(path, "two")
    assert path.read_text() == "two" and [p.name for p in tmp_path.iterdir()] == ["a.json"]
