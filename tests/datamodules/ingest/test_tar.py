"""Tar files, plain and packed by gzip: what is in them, and what is refused."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from datamodules.adapters.registry import import_named_dataset
from datamodules.ingest.archives import member, tar_files
from datamodules.ingest.sources import SourceIndex
from usererror import UserError

ENDINGS = ("tar", "tar.gz", "tgz")
Disk = namedtuple("Disk", "free")


@pytest.fixture
def source(tmp_path, write_folder):
    write_folder(tmp_path / "source", splits=("train", "test"))
    return tmp_path / "source"


def load(source, tmp_path, store="store", **options):
    return import_named_dataset("mine", source, tmp_path / store, **options)


def pack(source: Path, path: Path, change=lambda tar: None, **options) -> Path:
    """Pack a folder as `tar c .` does; `change` adds what else shall be in it."""
    path.parent.mkdir(exist_ok=True)
    mode = "w" if path.suffix == ".tar" else "w:gz"
    with tarfile.open(path, mode, **options) as tar:
        tar.add(source, ".")
        change(tar)
    return path


def add(tar: tarfile.TarFile, name: str, content: bytes = b"x", **header) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in header.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_gives_the_store_of_the_folder(ending, tmp_path, source):
    expected = load(source, tmp_path, "plain").fingerprint
    packed = pack(source, tmp_path / "in" / f"town.{ending}")
    store = load(packed, tmp_path)
    assert store.fingerprint == expected and not (store.root / "scratch").exists()
    # in a folder, by several processes
    workers = 2 if ending == "tar.gz" else 1
    assert load(packed.parent, tmp_path, "two", workers=workers).fingerprint == expected
    assert sorted(packed.parent.iterdir()) == [packed]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("ending", ENDINGS)
def test_members_are_those_that_were_packed(ending, form, tmp_path):
    """In any order, twice, with names that are long, and accents where the form has them."""
    draw = np.random.default_rng(0)
    truth = {f"{'deep/' * 25}{i}.bin": draw.bytes(int(n)) for i, n in enumerate((0, 1, 511, 512))}
    truth["K\xf6ln.bin"] = draw.bytes(3_000_000)
    for name, content in truth.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    packed = pack(tmp_path / "in", tmp_path / f"all.{ending}", format=form)
    index = SourceIndex(packed, tmp_path / "scratch")
    assert {file.rel for file in index.files} == set(truth)
    for file in [*index.files, *reversed(index.files)]:
        assert file.read_bytes() == truth[file.rel]
        copy = file.extract(tmp_path / "out")
        assert copy.name == file.name and copy.read_bytes() == truth[file.rel]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_changed_archive_is_noticed(ending, tmp_path, source, write_raster, pixels):
    """The member has the size and the time that it had."""
    packed = pack(source, tmp_path / f"a.{ending}")
    store = load(packed, tmp_path)
    path = source / "label/s1.tif"
    time, size = path.stat().st_mtime_ns, path.stat().st_size
    write_raster(path, np.ones((1, 40, 50), np.uint8))
    assert path.stat().st_size == size
    os.utime(path, ns=(time, time))
    pack(source, packed)
    changed = load(packed, tmp_path)
    assert changed.fingerprint != store.fingerprint
    assert (pixels(changed.scenes[1].paths["label"]) == 1).all()


def test_gzip_is_read_once_whatever_is_asked_for(tmp_path, source, monkeypatch):
    opened = []

    def count(*arguments):
        opened.append(arguments)
        return gzip.GzipFile(*arguments)

    for i in range(200):
        (source / f"more{i}.txt").write_text("more")
    packed = pack(source, tmp_path / "a.tar.gz")
    monkeypatch.setattr(tar_files.gzip, "open", count)
    load(packed, tmp_path, workers=1)
    assert len(opened) == 1


def test_what_a_killed_import_has_unpacked_is_taken_until_the_archive_changes(tmp_path, source):
    packed = pack(source, tmp_path / "a.tar.gz")
    said: list[str] = []
    for expected in (1, 1):
        SourceIndex(packed, tmp_path / "scratch", log=said.append)
        assert len(said) == expected
    assert "a.tar.gz" in said[0] and "MB are free in" in said[0]
    (source / "new.txt").write_text("new")
    pack(source, packed)
    index = SourceIndex(packed, tmp_path / "scratch", log=said.append)
    assert len(said) == 2 and index.file_at("new.txt").read_bytes() == b"new"


def test_within_each_other_and_in_zip_files(tmp_path, source):
    expected = load(source, tmp_path, "plain").fingerprint
    content = pack(source, tmp_path / "a.tar.gz").read_bytes()
    for i, end in enumerate(("zip", "tar", "tgz")):
        outer = tmp_path / f"outer{i}"
        outer.mkdir()
        (outer / "in.tar.gz").write_bytes(content)
        place = tmp_path / f"b.{end}"
        if end == "zip":
            shutil.make_archive(str(place.with_suffix("")), "zip", outer)
        else:
            pack(outer, place)
        assert load(place, tmp_path, f"store{i}").fingerprint == expected
        # four of one kind within each other
        for name in ("c", "d"):
            (outer / "in.tar.gz").write_bytes(place.read_bytes() if end != "zip" else content)
            place = pack(outer, tmp_path / f"{name}{i}.tar.gz")
    with pytest.raises(UserError, match=r"in\.tar\.gz lies in 4 archives.*unpack it first"):
        load(place, tmp_path, "deep")


# -- what is refused


def link(tar):
    add(tar, "rgb/more.tif", b"", type=tarfile.SYMTYPE, linkname="/etc/hostname")


def hard_link(tar):
    add(tar, "rgb/more.tif", b"", type=tarfile.LNKTYPE, linkname="./rgb/s0.tif")


def device(tar):
    add(tar, "rgb/more.tif", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3)


def pipe(tar):
    add(tar, "rgb/more.tif", b"", type=tarfile.FIFOTYPE)


def again(tar):
    add(tar, "rgb//s0.tif", b"other")


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (link, r"holds a link, a device or .* \(rgb/more\.tif\): unpack it first and name the"),
        (hard_link, "holds a link, a device"),
        (device, "holds a link, a device"),
        (pipe, "holds a link, a device"),
        (again, r"holds two files rgb/s0\.tif: unpack it first"),
        (
            lambda tar: add(tar, "../out.tif"),
            "holds a file whose path leads outside of it: '../out.tif'",
        ),
        (lambda tar: add(tar, "/out.tif"), "holds a file whose path leads outside of it"),
        (lambda tar: add(tar, "a/../../out.tif"), "holds a file whose path leads outside of it"),
        (lambda tar: add(tar, "..\\out.tif"), "holds a file whose path leads outside of it"),
        (lambda tar: add(tar, "C:/out.tif"), "holds a file whose path leads outside of it"),
    ],
)
def test_odd_members(change, text, ending, tmp_path, source):
    packed = pack(source, tmp_path / f"a.{ending}", change)
    with pytest.raises(UserError, match=rf"a\.{ending} {text}") as caught:
        load(packed, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("out.tif")) and not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.7, 0.95, 0.99])
def test_one_that_is_cut_short(share, ending, tmp_path, source):
    packed = pack(source, tmp_path / f"a.{ending}")
    content = packed.read_bytes()
    if ending == "tar":
        content = content.rstrip(b"\0")  # zeros at its end say nothing
    packed.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=rf"a\.{ending} is not a whole tar file .*download it"):
        load(packed, tmp_path)
    assert not list(tmp_path.rglob("*.part"))


def test_a_damaged_list_is_not_taken_for_its_end(tmp_path, source):
    """tarfile stops at a header that is damaged, as if there were no more."""
    packed = pack(source, tmp_path / "a.tar")
    content = packed.read_bytes()
    with tarfile.open(packed) as tar:
        offsets = [info.offset for info in tar.getmembers()]
    middle = offsets[len(offsets) // 2]
    for damaged in (
        content[: middle + 100] + b"\xff" + content[middle + 101 :],
        content[:middle],
        content + content,
        content[:-200] + b"text",
    ):
        packed.write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.tar is not a whole tar file"):
            load(packed, tmp_path)
    packed.write_bytes(content)
    assert load(packed, tmp_path).verify() == []


def test_gzip_that_is_none_or_holds_no_tar(tmp_path, source):
    packed = pack(source, tmp_path / "a.tar.gz")
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 255
    for wrong in (bytes(content), b"text", gzip.compress(b"text"), packed.read_bytes() + b"more"):
        packed.write_bytes(wrong)
        with pytest.raises(UserError, match=r"a\.tar\.gz is not a whole tar file"):
            load(packed, tmp_path)


def test_the_name_may_be_wrong_about_gzip(tmp_path, source):
    """Browsers unpack what they load, and keep its name."""
    expected = load(source, tmp_path, "plain").fingerprint
    plain, packed = (pack(source, tmp_path / name) for name in ("b.tar", "b.tar.gz"))
    (tmp_path / "c.tar.gz").write_bytes(plain.read_bytes())
    (tmp_path / "c.tar").write_bytes(packed.read_bytes())
    for name in ("c.tar.gz", "c.tar"):
        assert load(tmp_path / name, tmp_path, f"store_{name}").fingerprint == expected


def test_room_is_asked_for_before_and_the_need_is_told_in_full(tmp_path, source, monkeypatch):
    (source / "zeros.bin").write_bytes(bytes(30 << 20))
    packed = pack(source, tmp_path / "a.tar.gz")
    needed = len(gzip.decompress(packed.read_bytes()))
    for free in (10, 5 << 20):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: Disk(free))
        at_least = packed.stat().st_size if free == 10 else needed
        with pytest.raises(
            UserError, match=rf"a\.tar\.gz needs {at_least / 1e6:.0f} MB in .* free"
        ):
            load(packed, tmp_path)
    assert not list(tmp_path.rglob("*.part"))


def test_a_bomb_is_refused_while_it_is_unpacked(tmp_path, source, monkeypatch):
    monkeypatch.setattr(member, "RATIO_FROM_BYTES", 1 << 20)
    (source / "zeros.bin").write_bytes(bytes(60 << 20))
    packed = pack(source, tmp_path / "a.tar.gz")
    written = []
    monkeypatch.setattr(tar_files, "check_growth", watch(written))
    with pytest.raises(UserError, match=r"a\.tar\.gz grows from 0 MB to \d+ MB .*200 times"):
        load(packed, tmp_path)
    assert max(written) <= 200 * packed.stat().st_size + (2 << 20)


def watch(written):
    def check(size, packed, origin):
        written.append(size)
        member.check_growth(size, packed, origin)

    return check


PARTS = [f"activations.tar.{i:03d}.gz.part" for i in range(11)]


def test_a_download_in_parts_is_told_what_to_do(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in PARTS:
        (folder / name).write_bytes(b"\x1f\x8b")
    how = "join the parts in numerical order, decompress and unpack the whole, and name the folder"
    with pytest.raises(UserError, match=rf"^activations\.tar\.000\.gz\.part, .*: parts .*{how}\."):
        load(folder, tmp_path)
    with pytest.raises(UserError, match=rf"010\.gz\.part is neither a folder nor .*: {how}\."):
        load(folder / PARTS[-1], tmp_path)


def test_arrays_are_named_where_there_are_no_pictures(tmp_path, source):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "lidar.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"Arrays are not read, as lidar\.npz: save them as TIFF"):
        load(folder, tmp_path)
    (source / "lidar.npz").write_bytes(b"PK")
    (source / "classes.csv").unlink()
    with pytest.raises(UserError, match=r"classes\.csv") as caught:
        load(source, tmp_path)
    assert "Arrays" not in str(caught.value)
