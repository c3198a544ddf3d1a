"""Zip files of users: what is in them, as every system writes them, and one member on the disk.

Limits keep a damaged or malicious archive from filling memory and disk; each is said by name.
"""

from __future__ import annotations

import errno
import lzma
import re
import shutil
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from usererror import UserError

# what zipfile and its decompressors raise for a damaged member
CODEC_ERRORS = (struct.error, lzma.LZMAError, zlib.error)
DAMAGE = (*CODEC_ERRORS, zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError)
READ_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
METHOD_NAMES = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES"}
# of other programs, and the parts of a split one
UNREAD_ARCHIVE = re.compile(
    r"(?i).*\.(7z|rar|tar|tgz|tbz2?|txz|gz|bz2|xz|zst|z\d\d|(zip|7z|rar)\.\d{3})$"
)
MAX_DEPTH = 3  # archives within each other
MAX_TEXT_BYTES = 64 << 20  # of a table or a description
# of a member that is so large: labels of one class shrink to a thousandth, photos do not
MAX_RATIO, RATIO_FROM_BYTES = 200, 1 << 30
UTF8_NAME, ENCRYPTED = 0x800, 1  # bits of a member's flags
UNPACK = "unpack it first and name the folder"


def is_litter(name: str) -> bool:
    """Tell whether a file is only macOS's note about another one.

    Example:
        >>> is_litter("__MACOSX/town/._a.tif"), is_litter("town/a.tif")
        (True, False)
    """
    parts = name.split("/")
    return parts[-1].startswith("._") or "__MACOSX" in parts


def list_members(
    archive: zipfile.ZipFile, origin: str, depth: int
) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """Yield the files in an archive and their paths in it; raises UserError for what is not read.

    `depth` counts the archives around it, `origin` is its name for the user.
    """
    if depth > MAX_DEPTH:
        nested = f"{origin} lies in {depth} archives, one within the other (at most {MAX_DEPTH})"
        raise UserError(f"{nested}: {UNPACK}.")
    seen: dict[str, int] = {}
    for info in archive.infolist():
        name = member_path(info)
        if not name or name.endswith("/") or is_litter(name):
            continue
        if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
            leads = f"holds a file whose path leads outside of it: {info.filename!r}"
            raise UserError(f"{origin} {leads}.")
        if info.flag_bits & ENCRYPTED:
            raise UserError(f"{origin} is protected by a password ({name}): {UNPACK}.")
        if info.compress_type not in READ_METHODS:
            method = METHOD_NAMES.get(info.compress_type, f"method {info.compress_type}")
            raise UserError(f"{origin} is packed by {method}, which is not read here: {UNPACK}.")
        if seen.setdefault(name, info.CRC) != info.CRC:
            raise UserError(f"{origin} holds two different files {name}: take one out.")
        yield info, name


def member_path(info: zipfile.ZipInfo) -> str:
    """Return a member's path with `/`, whatever system and encoding its archive comes from."""
    name = info.filename
    if not info.flag_bits & UTF8_NAME:
        # macOS writes UTF-8 without saying so, which zipfile takes for the old code page
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def open_zip(path: Path, origin: str) -> zipfile.ZipFile:
    """Open an archive; `origin` is its name for the user."""
    try:
        return zipfile.ZipFile(path)
    except (*DAMAGE, NotImplementedError) as error:
        remedy = "download it again or take it away"
        # the last part of a split one says so
        if "disk" in str(error) or "span" in str(error):
            remedy = "it is one part of several: " + UNPACK
        raise UserError(f"{origin} is not a whole zip file ({error}): {remedy}.") from error


# opened once per process: listing 50,000 members takes longer than reading a picture of them
@lru_cache(maxsize=4)
def keep_open(path: Path, time: int) -> zipfile.ZipFile:
    """Return an open archive, the same one for equal arguments."""
    return open_zip(path, str(path))


def check_text_size(size: int, origin: str, most: int = MAX_TEXT_BYTES) -> None:
    """Raise UserError for a table or a description that is too large to be one."""
    if size > most:
        limit = f"{most >> 20} MiB is the limit of a table or a description"
        raise UserError(f"{origin} has {size / 1e6:.0f} MB: {limit}. Is it the right file?")


def inflate(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, origin: str) -> None:
    """Write one member to `target`, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size, packed = info.file_size, max(info.compress_size, 1)
    if size > RATIO_FROM_BYTES and size / packed > MAX_RATIO:
        grows = f"{origin} grows from {packed / 1e6:.0f} MB to {size / 1e6:.0f} MB"
        limit = f"more than {MAX_RATIO} times is the limit"
        raise UserError(f"{grows} ({limit}): if that is right, {UNPACK}.")
    # said before, not after hours of unpacking
    free = shutil.disk_usage(target.parent).free
    if free < size:
        room = f"{size / 1e6:.0f} MB in {target.parent}; {free / 1e6:.0f} MB are free"
        raise UserError(f"Unpacking {origin} needs {room}: make room.")
    temporary = target.with_name(target.name + ".part")
    # zipfile compares the CRC at the end of the member
    with tell_damage(origin), archive.open(info) as stream, temporary.open("wb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)
    temporary.replace(target)


@contextmanager
def tell_damage(origin: str) -> Iterator[None]:
    """Tell what goes wrong while a member is inflated as damage of the file `origin`."""
    try:
        yield
    except DAMAGE as error:
        # a full disk or no permission has a number; bz2 and wrong offsets raise without one
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        text = f"{origin} is damaged inside its archive ({error}): download the archive again."
        raise UserError(text) from error
