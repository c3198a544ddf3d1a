"""A source that is damaged, locked or leads elsewhere ends in one line that names the file."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from datamodules.adapters.registry import import_named_dataset
from tests.datamodules.ingest.test_importer import load
from usererror import UserError

# -- bad input: one clear line


def cut(path: Path, share: float = 0.6) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize("compress", ["none", "lzw", "deflate"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_tiff(compress, share, tmp_path, source, write_raster):
    values = np.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype=np.uint8)
    write_raster(source / "rgb/s1.tif", values, compress=compress)
    cut(source / "rgb/s1.tif", share)
    with pytest.raises(UserError) as caught:
        load(source, tmp_path)
    assert "s1.tif" in str(caught.value) and "\n" not in str(caught.value)
    assert re.search("cut short|cannot be read as an image|is empty", str(caught.value))


@pytest.mark.parametrize(("driver", "suffix"), [("PNG", "png"), ("JPEG", "jpg"), ("BMP", "bmp")])
def test_other_truncated_images(driver, suffix, tmp_path, source, write_raster):
    table = source / "scenes.csv"
    table.write_text(table.read_text().replace("rgb/s1.tif", f"rgb/s1.{suffix}"))
    values = np.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype=np.uint8)
    write_raster(source / f"rgb/s1.{suffix}", values, driver)
    assert load(source, tmp_path, "whole").verify() == []
    cut(source / f"rgb/s1.{suffix}")
    with pytest.raises(UserError, match=rf"s1\.{suffix} (is cut short|cannot be read)"):
        load(source, tmp_path)


def test_bytes_turned_inside_compressed_data(tmp_path, source, write_raster):
    values = np.random.default_rng(0).integers(0, 9, (3, 40, 50), dtype=np.uint8)
    write_raster(source / "rgb/s1.tif", values, compress="lzw")
    content = bytearray((source / "rgb/s1.tif").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = b"\xff" * 40
    (source / "rgb/s1.tif").write_bytes(content)
    with pytest.raises(UserError, match=r"s1\.tif cannot be read as an image"):
        load(source, tmp_path)


@pytest.mark.parametrize(
    "content", [b"GIF89a", b"<VRTDataset/>", b"\0" * 500, b"II*\0garbage", b"\x89PNG\r\n\x1a\n"]
)
def test_bytes_that_are_no_image(content, tmp_path, source):
    (source / "rgb/s1.tif").write_bytes(content)
    with pytest.raises(UserError, match=r"s1\.tif"):
        load(source, tmp_path)


def test_several_bad_files_are_named_together(tmp_path, source):
    for i in (0, 2):
        cut(source / f"label/s{i}.tif")
    with pytest.raises(UserError, match=r"^2 rasters cannot be used: .*s0\.tif.*s2\.tif") as caught:
        load(source, tmp_path)
    assert "\n" not in str(caught.value)


def test_absent_and_empty_sources_leave_nothing_behind(tmp_path):
    with pytest.raises(UserError, match="SOURCE .*nowhere does not exist.*isprs"):
        import_named_dataset("potsdam", tmp_path / "nowhere", tmp_path / "store")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no files"):
        import_named_dataset("potsdam", tmp_path / "empty", tmp_path / "store")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(UserError, match="neither a folder nor a whole zip"):
        import_named_dataset("potsdam", tmp_path / "text.zip", tmp_path / "store")
    assert not (tmp_path / "store" / "potsdam").exists()
    with pytest.raises(UserError, match="no usable name"):
        import_named_dataset("folder", tmp_path / "empty", tmp_path / "store", name="../out")


# -- what lies in folders and archives


def test_symbolic_links_in_a_circle(tmp_path, source):
    (source / "rgb" / "again").symlink_to(source, target_is_directory=True)
    (source / "broken.tif").symlink_to(source / "nothing.tif")
    assert len(load(source, tmp_path).scenes) == 3


@pytest.mark.parametrize(
    "name", ["../out.tif", "/out.tif", "a/../../out.tif", "C:/out.tif", "..\\out.tif"]
)
def test_members_that_lead_outside_are_refused(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("scenes.csv", "id,split,label\n")
        archive.writestr(name, b"x")
    with pytest.raises(UserError, match=r"bad\.zip holds a file whose path leads outside"):
        load(tmp_path / "bad.zip", tmp_path)
    assert not list(tmp_path.rglob("out.tif"))


def test_broken_and_locked_archives(tmp_path, source):
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", source)
    shutil.copy(packed, source / "inner.zip")
    cut(source / "inner.zip")
    with pytest.raises(UserError, match=r"inner\.zip is not a whole zip file"):
        load(source, tmp_path)
    content = bytearray(Path(packed).read_bytes())
    for entry in re.finditer(rb"PK\x01\x02", bytes(content)):
        content[entry.start() + 8] |= 1  # "encrypted", in the directory at the end of the archive
    (source / "inner.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"inner\.zip is protected by a password"):
        load(source, tmp_path)
