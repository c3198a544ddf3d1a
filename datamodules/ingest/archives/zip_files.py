"""Zip files of users: what is in them, and one member on the disk."""

import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from datamodules.ingest.archives.member import CHUNK, DAMAGE, Member, not_whole
from datamodules.ingest.archives.names import UNPACK, member_path
from usererror import UserError

READ_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
METHOD_NAMES = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES"}
UTF8_NAME, ENCRYPTED = 0x800, 1  # bits of a member's flags


@dataclass(frozen=True)
class ZipMember(Member):
    """A member of a zip file, which calls it `raw`."""

    raw: str

    def chunks(self) -> Iterator[bytes]:
        """See the base class; zipfile compares the CRC at the end of the member."""
        archive = keep_open(self.archive, self.archive.stat().st_mtime_ns)
        with archive.open(self.raw) as stream:
            yield from iter(partial(stream.read, CHUNK), b"")


def list_zip(path: Path, origin: str) -> list[ZipMember]:
    """Return the files in an archive, `origin` for the user; UserError for what is not read."""
    members: dict[str, ZipMember] = {}
    with open_zip(path, origin) as archive:
        for info in archive.infolist():
            if not (name := member_path(_full_name(info), origin)):
                continue
            if info.flag_bits & ENCRYPTED:
                raise UserError(f"{origin} is protected by a password ({name}): {UNPACK}.")
            if info.compress_type not in READ_METHODS:
                method = METHOD_NAMES.get(info.compress_type, f"method {info.compress_type}")
                packed = f"{origin} is packed by {method}, which is not read here"
                raise UserError(f"{packed}: {UNPACK}.")
            # a copied archive has another time, but the same content
            stamp = f"{info.file_size}:{info.CRC:08x}"
            sizes = info.file_size, info.compress_size
            member = ZipMember(path, name, *sizes, stamp, info.filename)
            if members.setdefault(name, member).stamp != stamp:
                raise UserError(f"{origin} holds two different files {name}: take one out.")
    return list(members.values())


def _full_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name, whatever encoding its archive comes in."""
    if not info.flag_bits & UTF8_NAME:
        # macOS writes UTF-8 without saying so, which zipfile takes for the old code page
        with suppress(UnicodeError):
            return info.filename.encode("cp437").decode("utf-8")
    return info.filename


def open_zip(path: Path, origin: str) -> zipfile.ZipFile:
    """Open an archive; `origin` is its name for the user."""
    try:
        return zipfile.ZipFile(path)
    except (*DAMAGE, NotImplementedError) as error:
        raise not_whole(origin, "zip", error) from error


# opened once per process: listing 50,000 members takes longer than reading a picture of them
@lru_cache(maxsize=4)
def keep_open(path: Path, time: int) -> zipfile.ZipFile:
    """Return an open archive, the same one for equal arguments."""
    return open_zip(path, str(path))
