"""Pixels that change behind the fingerprint are noticed at the next start, whatever their times."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from datamodules.adapters.registry import import_named_dataset
from datamodules.ingest import file_changes
from datamodules.prepare import ensure_store
from datamodules.store.scene_store import SceneStore
from usererror import UserError


@pytest.fixture
def source(tmp_path, write_folder):
    write_folder(tmp_path / "source")
    return tmp_path / "source"


def load(source, tmp_path, **options):
    return import_named_dataset("mine", source, tmp_path / "store", **options)


def start(tmp_path) -> None:
    ensure_store("mine", tmp_path / "store")


@pytest.mark.parametrize("times", ["new", "as before"])
def test_a_referenced_raster_written_anew(times, tmp_path, source, write_raster):
    store = load(source, tmp_path)
    start(tmp_path)
    path = source / "rgb" / "s1.tif"
    before = path.stat()
    values = np.full((3, 40, 50), 7, np.uint8)
    write_raster(path, values)
    if times == "as before":
        assert path.stat().st_size == before.st_size
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(UserError, match=r"rgb/s1\.tif has changed .*make data DATA=mine") as told:
        start(tmp_path)
    assert str(told.value).isprintable()
    again = load(source, tmp_path)
    assert again.fingerprint != store.fingerprint
    assert again.statistics["s1"]["rgb"]["mean"] == [7, 7, 7]
    start(tmp_path)


def test_a_raster_of_the_store_and_one_that_is_gone(tmp_path, source):
    store = load(source, tmp_path)
    path = store.scenes[0].paths["label"]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="label.tif has changed"):
        start(tmp_path)
    assert load(source, tmp_path).fingerprint == store.fingerprint
    start(tmp_path)
    (source / "dsm" / "s2.tif").unlink()
    with pytest.raises(UserError, match=r"dsm/s2\.tif is missing"):
        start(tmp_path)


def test_new_times_alone_are_read_once(tmp_path, source, monkeypatch):
    load(source, tmp_path)
    for path in source.rglob("*.tif"):
        os.utime(path)
    moved = shutil.copytree(tmp_path / "store", tmp_path / "other")
    read = []
    problem = file_changes.file_problem
    monkeypatch.setattr(
        file_changes, "file_problem", lambda *a: (read.append(a[0]), problem(*a))[1]
    )
    ensure_store("mine", moved)
    assert len(read) == 9, "6 referenced rasters and 3 labels"
    ensure_store("mine", moved)
    assert len(read) == 9
    (moved / "mine" / "stamps.json").write_text("[1")
    ensure_store("mine", moved)
    assert len(read) == 18


def test_a_raster_written_anew_during_the_import(tmp_path, source, write_raster, monkeypatch):
    """Its record tells the pixels that were read, so the first start must say what has changed."""
    from datamodules.ingest import journal

    add = journal.Journal.add_result

    def interfere(self, item, result):
        if item.scene == "s1" and item.raster == "rgb":
            write_raster(source / "rgb" / "s1.tif", np.full((3, 40, 50), 9, np.uint8))
        add(self, item, result)

    monkeypatch.setattr(journal.Journal, "add_result", interfere)
    load(source, tmp_path, workers=1)
    with pytest.raises(UserError, match=r"rgb/s1\.tif has changed"):
        start(tmp_path)


@pytest.mark.parametrize("name", ["scenes.csv", "classes.csv", "about.json", "new about.json"])
def test_edited_tables_are_seen_by_a_second_import(name, tmp_path, source):
    about = source / "about.json"
    if name == "about.json":
        about.write_text('{"nadir": true}')
    store = load(source, tmp_path)
    if name == "scenes.csv":
        text = (source / name).read_text()
        (source / name).write_text(
            text.replace("s0,train", "s0,test").replace("s2,test", "s2,train")
        )
    elif name == "classes.csv":
        text = (source / name).read_text()
        (source / name).write_text(text.replace("tree", "bush"))
    else:
        about.write_text('{"nadir": false}')
    again = load(source, tmp_path)
    if "about" in name:
        assert store.info["nadir"] and not again.info["nadir"]
    else:
        assert again.fingerprint != store.fingerprint
    assert SceneStore.open(store.root).fingerprint == again.fingerprint
    parts = again.split("split_standard")
    assert (parts["test"][0].id == "s0") == (name == "scenes.csv")


def test_a_start_tells_of_edited_tables(tmp_path, source, capsys):
    """The store is whole and says what is trained, but it may not be what is wanted."""
    load(source, tmp_path)
    start(tmp_path)
    assert "warning" not in capsys.readouterr().out
    (source / "classes.csv").write_text((source / "classes.csv").read_text() + "\n")
    start(tmp_path)
    out = capsys.readouterr().out
    assert "classes.csv has changed since the import, the store has not: make data" in out
    load(source, tmp_path)
    capsys.readouterr()
    start(tmp_path)
    assert "warning" not in capsys.readouterr().out


def test_another_source_of_the_same_name_is_named(tmp_path, source, capsys):
    load(source, tmp_path)
    other = shutil.copytree(source, tmp_path / "newer")
    load(other, tmp_path)
    assert f"from {source}, not from {other}" in capsys.readouterr().out


def test_tables_of_the_store_that_were_edited(tmp_path, source):
    """A scene moved to another part would be trained under the identity of the old split."""
    store = load(source, tmp_path)
    for name, old, new in (("scenes.csv", "train", "test"), ("dataset.json", "roof", "tower")):
        path = store.root / name
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(UserError, match=f"store/mine/{name} has changed"):
            start(tmp_path)
        assert SceneStore.open(store.root).verify() != []
        assert load(source, tmp_path).fingerprint == store.fingerprint
        start(tmp_path)


def test_a_store_whose_source_is_gone_names_what_is_missing(tmp_path, source):
    load(source, tmp_path)
    source.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"store/mine is damaged or changed: .*s0\.tif is missing"):
        load(source, tmp_path)
    with pytest.raises(UserError, match=r"SOURCE .*source does not exist\. A folder of your own"):
        import_named_dataset("new", source, tmp_path / "store")


def test_a_mask_beside_a_raster_is_part_of_it(tmp_path, source):
    import rasterio

    store = load(source, tmp_path)
    mask = np.full((40, 50), 255, np.uint8)
    mask[:10] = 0
    copy = shutil.copy(source / "rgb" / "s1.tif", tmp_path / "s1.tif")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(copy, "r+") as dataset:
        dataset.write_mask(mask)
    shutil.move(f"{copy}.msk", source / "rgb" / "s1.tif.msk")
    with pytest.raises(UserError, match=r"s1\.tif\.msk was put beside a raster"):
        start(tmp_path)
    again = load(source, tmp_path)
    assert again.statistics["s1"]["rgb"]["count"] == 30 * 50
    assert again.scenes[1].paths["rgb"].is_relative_to(again.root), "no longer referenced"
    start(tmp_path)
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", source)
    zipped = import_named_dataset("mine", packed, tmp_path / "zipped")
    assert zipped.fingerprint == again.fingerprint != store.fingerprint
