"""Ways to harm a source, each drawn from a seed: for the fuzz test of the importer."""

from __future__ import annotations

import io
import shutil
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.support.harm_case import RASTERS, Case, put
from tests.support.harm_texts import about_changed

ODD = [
    "[red]x[/red].tif",
    "%s %d {0}.tif",
    "tab\there.png",
    "caf\u00e9 \u2603.tif",
    "-r.tif",
    "x" * 240,
]


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    import rasterio

    with warnings.catch_warnings(action="ignore"):
        with rasterio.open(path) as dataset:
            values = change(dataset.read())
        path.unlink()
        count, height, width = values.shape
        profile = {
            "driver": "GTiff",
            "count": count,
            "height": height,
            "width": width,
            "dtype": values.dtype,
        }
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(values)


# ---- what is done to rasters


def cut_short(case: Case) -> None:
    path = case.pick()
    content = path.read_bytes()
    put(path, content[: case.rng.randrange(1, len(content))])


def empty(case: Case) -> None:
    put(case.pick(), b"")


def noise(case: Case) -> None:
    put(case.pick(), case.rng.randbytes(case.rng.choice([1, 7, 300, 5000])))


def flipped_bytes(case: Case) -> None:
    path = case.pick()
    content = bytearray(path.read_bytes())
    for _ in range(case.rng.choice([1, 3, 40])):  # the header more often than the rest
        place = case.rng.randrange(
            len(content) if case.rng.random() < 0.5 else min(300, len(content))
        )
        content[place] ^= case.rng.randrange(1, 256)
    put(path, bytes(content))


def other_type(case: Case) -> None:
    dtype = case.rng.choice(
        ["uint16", "int16", "int32", "float32", "float64", "complex64", "uint8"]
    )
    rewrite(case.pick(), lambda values: values.astype(dtype))


def other_bands(case: Case) -> None:
    count = case.rng.choice([1, 2, 5])
    rewrite(case.pick(), lambda values: np.resize(values, (count, *values.shape[1:])))


def other_size(case: Case) -> None:
    cut = case.rng.choice([1, 2, 3, 20])
    rewrite(
        case.pick(),
        lambda values: values[:, cut:, :] if case.rng.random() < 0.5 else values[:, :1, :1],
    )


def not_a_number(case: Case) -> None:
    value = case.rng.choice([np.nan, np.inf, -np.inf, 3e38, -9999])
    rewrite(case.pick(), lambda values: np.full(values.shape, value, np.float32))


def swapped(case: Case) -> None:
    one, other = case.pick(), case.pick()
    contents = one.read_bytes(), other.read_bytes()
    put(one, contents[1])
    put(other, contents[0])


def foreign_content(case: Case) -> None:
    outside = case.root / "secret.tif"
    put(outside, case.files()[0].read_bytes())
    vrt = f'<VRTDataset rasterXSize="32" rasterYSize="32"><VRTRasterBand dataType="Byte" band="1">\
<SimpleSource><SourceFilename>{outside}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    contents = [
        b"<html>log in first</html>",
        b"GIF89a" + b"\0" * 99,
        vrt.encode(),
        b"PK\5\6" + b"\0" * 18,
        b"II*\0",
        b"\0",
    ]
    put(case.pick(), case.rng.choice(contents))


def huge_header(case: Case) -> None:
    """A picture that says it is gigantic."""
    sides = case.rng.choice([(2**31 - 1, 2**31 - 1), (60000, 60000), (1, 2**31 - 1), (0, 0)])
    chunk = b"IHDR" + struct.pack(">IIBBBBB", *sides, 8, case.rng.choice([0, 2]), 0, 0, 0)
    import zlib

    png = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    tiff = struct.pack("<2sHIH", b"II", 42, 8, 4)
    for tag, value in ((256, sides[0]), (257, sides[1]), (273, 8), (279, 4)):
        tiff += struct.pack("<HHII", tag, 4, 1, value)
    end = b"\0\0\0\0IEND\xaeB`\x82"
    put(case.pick(), case.rng.choice([png + end, png, tiff + b"\0" * 8]))


def sidecars(case: Case) -> None:
    """Files that GDAL looks for beside a raster."""
    path = case.pick()
    for end in (".aux.xml", ".ovr", ".msk"):
        put(
            path.with_name(path.name + end),
            case.rng.choice([b"", b"<PAMDataset>", case.rng.randbytes(99)]),
        )
    put(
        path.with_suffix(".tfw"),
        case.rng.choice([b"", b"nan\n" * 6, b"x", b"1e999\n" * 6, b"0\n" * 6, b"\xff\xfe"]),
    )


# ---- what is done to folders


def removed(case: Case) -> None:
    case.pick().unlink()


def folder_for_a_file(case: Case) -> None:
    path = case.pick()
    path.unlink()
    path.mkdir()
    if case.rng.random() < 0.5:
        (path / path.name).mkdir()


def link_loops(case: Case) -> None:
    path = case.pick()
    (path.parent / "round").symlink_to(case.source, target_is_directory=True)
    (case.source / "up").symlink_to(case.rng.choice(["..", ".", "up", str(case.source.parent)]))
    if case.rng.random() < 0.5:
        path.unlink()
        path.symlink_to(case.rng.choice([path.name, "nowhere.tif"]))


def odd_names(case: Case) -> None:
    for name in case.rng.sample(ODD, 3):
        put(case.source / name, case.rng.randbytes(9))


def odd_folder(case: Case) -> None:
    """The source itself has a strange name, and a damaged file."""
    noise(case)
    name = case.rng.choice(["[bold]", "100% {0}", "a b'c\"d", "gt", "label.zip"])
    case.names.append("SOURCE")
    case.source = case.source.rename(case.root / name)


def folder_called_zip(case: Case) -> None:
    (case.source / "images.zip").mkdir()
    put(
        case.source / "more.zip",
        case.rng.choice([b"", b"text", b"PK\3\4" + case.rng.randbytes(50)]),
    )
    case.names.append("more.zip")


# ---- what is done to zip files


def pack(case: Case, change: Callable[[zipfile.ZipFile], None] = lambda archive: None) -> Path:
    packed = case.root / "packed" / "all.zip"
    packed.parent.mkdir()
    method = case.rng.choice(
        [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    )
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(packed, "w", method) as archive:
        for path in sorted(case.source.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(case.source))
        change(archive)
    shutil.rmtree(case.source)
    case.source = packed if case.rng.random() < 0.5 else packed.parent
    return packed


def zip_cut_short(case: Case) -> None:
    packed = pack(case)
    put(packed, packed.read_bytes()[: case.rng.randrange(packed.stat().st_size)])
    case.names += ["all.zip", "packed"]


def zip_flipped(case: Case) -> None:
    packed = pack(case)
    content = bytearray(packed.read_bytes())
    for _ in range(case.rng.choice([1, 20, 300])):
        content[case.rng.randrange(len(content))] ^= case.rng.randrange(1, 256)
    put(packed, bytes(content))


def zip_directory_flipped(case: Case) -> None:
    """The list of contents at the end of the archive."""
    packed = pack(case)
    content = bytearray(packed.read_bytes())
    start = content.find(b"PK\1\2")
    for _ in range(case.rng.choice([1, 4, 20])):
        content[case.rng.randrange(start, len(content))] ^= case.rng.randrange(1, 256)
    put(packed, bytes(content))


def zip_escape(case: Case) -> None:
    name = case.rng.choice(
        [
            "../evil.tif",
            "/tmp/evil.tif",
            "a/../../evil.tif",
            "..\\evil.tif",
            "C:\\evil.tif",
            "../../e.zip",
        ]
    )
    pack(case, lambda archive: archive.writestr(name, b"evil"))
    case.names.append("evil" if "evil" in name else "e.zip")


def zip_link(case: Case) -> None:
    """A member that is a symbolic link to a file outside, in the place of a raster."""
    path = case.pick()
    member = zipfile.ZipInfo(str(path.relative_to(case.source)))
    member.external_attr, member.create_system = 0o120777 << 16, 3
    path.unlink()
    pack(case, lambda archive: archive.writestr(member, "/etc/hostname"))


def zip_inside(case: Case) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("readme.txt", b"x" * 200)
    content = inner.getvalue()
    damaged = [
        content[:-9],
        b"",
        b"text",
        content.replace(b"readme.txt", b"../../evil"),
        content[:40],
    ]
    pack(case, lambda archive: archive.writestr("inner.zip", case.rng.choice(damaged)))
    case.names.append("inner.zip")


def zip_odd_members(case: Case) -> None:
    again = case.files()[0].relative_to(case.source).as_posix()
    odd = [
        "a//b.tif",
        "./c.tif",
        "caf\u00e9.tif",
        again,
        again + "/below.tif",
        "top",
        "x" * 300,
    ]

    def change(archive: zipfile.ZipFile) -> None:
        for name in case.rng.sample(odd, 3):
            archive.writestr(name, b"odd")

    pack(case, change)


def zip_password(case: Case) -> None:
    packed = pack(case)
    content = bytearray(packed.read_bytes())
    content[content.find(b"PK\1\2") + 8] |= 1
    put(packed, bytes(content))


# ---- what is done to tar files


def pack_tar(case: Case, change: Callable[[tarfile.TarFile], None] = lambda tar: None) -> Path:
    mode, end = case.rng.choice([("w", "tar"), ("w:gz", "tar.gz"), ("w:gz", "tgz")])
    packed = case.root / "packed" / f"all.{end}"
    packed.parent.mkdir()
    form = case.rng.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    with tarfile.open(packed, mode, format=form) as tar:
        tar.add(case.source, case.rng.choice([".", "town"]))
        change(tar)
    shutil.rmtree(case.source)
    case.source = packed if case.rng.random() < 0.5 else packed.parent
    case.names.append(packed.name)
    return packed


def tar_cut_short(case: Case) -> None:
    packed = pack_tar(case)
    put(packed, packed.read_bytes()[: case.rng.randrange(packed.stat().st_size)])


def tar_flipped(case: Case) -> None:
    """Bytes anywhere: in lists as in rasters, of which a plain tar keeps no checksum."""
    packed = pack_tar(case)
    case.names += [path.name for path in packed.parent.iterdir()] + list(RASTERS)
    content = bytearray(packed.read_bytes())
    for _ in range(case.rng.choice([1, 20, 300])):
        content[case.rng.randrange(len(content))] ^= case.rng.randrange(1, 256)
    put(packed, bytes(content))


def tar_odd_member(case: Case) -> None:
    """Links, devices, paths that lead outside, a second file of one name."""
    again = case.files()[0].relative_to(case.source).as_posix()
    name = case.rng.choice(["../evil.tif", "/tmp/evil.tif", "..\\evil.tif", again, "more.tif"])
    kinds = [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
    member = tarfile.TarInfo(name)
    member.type, member.linkname = case.rng.choice(kinds), "/etc/hostname"
    pack_tar(case, lambda tar: tar.addfile(member, io.BytesIO()))


RASTER = (
    cut_short,
    empty,
    noise,
    flipped_bytes,
    other_type,
    other_bands,
    other_size,
    not_a_number,
    swapped,
)
HARM = (
    *RASTER, foreign_content, huge_header, sidecars, removed, folder_for_a_file, link_loops,
    odd_names, odd_folder, folder_called_zip, zip_cut_short, zip_flipped, zip_directory_flipped,
    zip_escape, zip_link, zip_inside,
    zip_odd_members, zip_password, tar_cut_short, tar_flipped, tar_odd_member,
    about_changed,
)  # fmt: skip
OFTEN = {
    flipped_bytes: 4,
    zip_directory_flipped: 3,
    cut_short: 3,
    swapped: 3,
    about_changed: 3,
    zip_flipped: 2,
    tar_flipped: 2,
    tar_odd_member: 2,
}
