"""Archives as other systems make them, and archives that would fill memory and disk."""

from __future__ import annotations

import io
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from datamodules.adapters.registry import import_named_dataset
from datamodules.ingest import sources
from datamodules.ingest.archives import member
from usererror import UserError


@pytest.fixture
def source(tmp_path, write_folder):
    write_folder(tmp_path / "source", splits=("train", "test"))
    return tmp_path / "source"


def load(source, tmp_path, store="store"):
    return import_named_dataset("mine", source, tmp_path / store)


def pack(source: Path, path: Path, rename=lambda name: name, **more: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(source.rglob("*")):
            if file.is_file():
                archive.writestr(rename(file.relative_to(source).as_posix()), file.read_bytes())
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def test_other_systems_give_the_same_store(tmp_path, source):
    expected = load(source, tmp_path, "plain").fingerprint
    windows = pack(source, tmp_path / "w.zip", lambda name: "town\\" + name.replace("/", "\\"))
    note = {"__MACOSX/town/._scenes.csv": b"\0", "town/._scenes.csv": b"\0", "town/.DS_Store": b""}
    macos = pack(source, tmp_path / "m.zip", lambda name: "town/" + name, **note)
    inside = pack(source, tmp_path / "inside" / "TOWN.ZIP").parent
    for i, place in enumerate((windows, macos, inside)):
        assert load(place, tmp_path, f"store{i}").fingerprint == expected


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_asked_for_unless_they_are_equal(tmp_path, source):
    content = (source / "rgb/s0.tif").read_bytes()
    twice = pack(source, tmp_path / "twice.zip", **{"rgb/s0.tif": content})
    assert load(twice, tmp_path).fingerprint == load(source, tmp_path, "plain").fingerprint
    # a system that takes backslashes for parts of names sees two names
    other = pack(source, tmp_path / "other.zip", **{"rgb\\s0.tif": content + b"x"})
    with pytest.raises(UserError, match=r"holds two different files rgb/s0\.tif"):
        load(other, tmp_path, "other")


def test_letters_with_accents(tmp_path, source):
    """One character in the table, a letter and its accent in the archive of a Mac."""
    text = (source / "scenes.csv").read_text()
    expected = load(source, tmp_path, "plain").fingerprint
    (source / "scenes.csv").write_text(text.replace("rgb/s0", "rgb/K\xf6ln"))
    (source / "rgb/s0.tif").rename(source / "rgb/Ko\u0308ln.tif")
    assert load(source, tmp_path, "unpacked").fingerprint == expected
    packed = pack(source, tmp_path / "a.zip")
    content = bytearray(packed.read_bytes())
    for signature, place in ((b"PK\3\4", 7), (b"PK\1\2", 9)):
        at = content.find(signature)
        while at >= 0:
            content[at + place] &= ~8  # no word of the encoding
            at = content.find(signature, at + 4)
    packed.write_bytes(content)
    assert load(packed, tmp_path, "packed").fingerprint == expected


def set_in_headers(path: Path, local: int, central: int, value: int) -> None:
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\3\4", local), (b"PK\1\2", central)):
        at = content.find(signature)
        while at >= 0:
            struct.pack_into("<H", content, at + place, value)
            at = content.find(signature, at + 4)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("local", "central", "value", "text"),
    [
        (8, 10, 9, r"packed by Deflate64, which is not read here: unpack it first"),
        (8, 10, 93, r"packed by Zstandard"),
        (6, 8, 1, r"protected by a password \(classes\.csv\): unpack it first and name the folder"),
    ],
)
def test_what_python_cannot_unpack_has_its_remedy(local, central, value, text, tmp_path, source):
    packed = pack(source, tmp_path / "a.zip")
    set_in_headers(packed, local, central, value)
    with pytest.raises(UserError, match=rf"a\.zip is {text}"):
        load(packed, tmp_path)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("town.7z", "unpack"),
        ("town.rar", "unpack"),
        ("town.tar.xz", "unpack"),
        ("town.tif.gz", "unpack"),
        ("town.zip.001", "join the parts"),
    ],
)
def test_archives_of_other_programs_are_named(name, remedy, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(40))
    with pytest.raises(UserError, match=rf"{name}: .*{remedy}"):
        load(folder, tmp_path)
    with pytest.raises(UserError, match=rf"{name} is neither a folder nor a whole zip.*: {remedy}"):
        load(folder / name, tmp_path)


def test_archives_within_archives(tmp_path, source):
    content = pack(source, tmp_path / "a.zip").read_bytes()
    expected = load(source, tmp_path, "plain").fingerprint
    for depth in range(2, 6):
        outer = io.BytesIO()
        with zipfile.ZipFile(outer, "w") as archive:
            archive.writestr("in.zip", content)
        content = outer.getvalue()
        (tmp_path / "deep.zip").write_bytes(content)
        if depth <= sources.MAX_DEPTH:
            assert load(tmp_path / "deep.zip", tmp_path, f"store{depth}").fingerprint == expected
        else:
            with pytest.raises(UserError, match=r"in\.zip lies in 4 archives.*unpack it first"):
                load(tmp_path / "deep.zip", tmp_path, f"store{depth}")


def test_a_table_of_gigabytes_is_refused_before_it_is_read(tmp_path, source):
    shutil.rmtree(source / "rgb")
    packed = pack(source, tmp_path / "a.zip", lambda name: name.replace("scenes", "no"))
    with (
        zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("scenes.csv", "w", force_zip64=True) as stream,
    ):
        for _ in range(80):
            stream.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(UserError, match=r"scenes\.csv has 84 MB: 64 MiB is the limit"):
        load(packed, tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_table_that_is_larger_than_its_archive_says_fills_no_memory(tmp_path, source):
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scenes.csv", bytes(40 << 20))
    raw = bytearray(packed.read_bytes())
    # the unpacked size in the directory
    struct.pack_into("<I", raw, raw.index(b"PK\x01\x02") + 24, 400)
    packed.write_bytes(raw)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"scenes\.csv is damaged inside its archive"):
        load(packed, tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, source, monkeypatch):
    monkeypatch.setattr(member, "RATIO_FROM_BYTES", 1 << 20)
    packed = pack(source, tmp_path / "a.zip", lambda name: name.replace("rgb/s0.tif", "rgb/no"))
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rgb/s0.tif", bytes(3 << 20))
    with pytest.raises(UserError, match=r"rgb/s0\.tif grows from 0 MB to 3 MB .*200 times"):
        load(packed, tmp_path)
    assert not list(tmp_path.rglob("*.part"))


def test_a_description_of_5000_levels_is_one_line(tmp_path, source):
    (source / "about.json").write_text('{"modalities": ' + "[" * 5000 + "]" * 5000 + "}")
    with pytest.raises(UserError, match=r"about\.json"):
        load(source, tmp_path)
    (source / "about.json").unlink()
    store = load(source, tmp_path)
    journal = store.root / "import.jsonl"
    journal.write_text("[" * 5000 + "\n" + journal.read_text())
    (store.root / "dataset.json").unlink()
    assert load(source, tmp_path).fingerprint == store.fingerprint
