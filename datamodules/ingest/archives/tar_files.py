"""Tar files of users, plain or packed by gzip.

gzip has no way into its middle: such a file is unpacked once, in one pass, and its members are then
read where they lie, as those of a plain one are, in any order and by any number of processes.
"""

import gzip
import posixpath
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from datamodules.ingest.archives.member import (
    CHUNK,
    DAMAGE,
    Member,
    check_growth,
    is_of_the_system,
    no_room,
    not_whole,
)
from datamodules.ingest.archives.names import UNPACK, member_path
from usererror import UserError

GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class TarMember(Member):
    """A member of a plain tar file, at a place in it."""

    offset: int

    def chunks(self) -> Iterator[bytes]:
        """See the base class; tar has no checksum of what is in it."""
        left = self.size
        with self.archive.open("rb") as stream:
            stream.seek(self.offset)
            while left:
                chunk = stream.read(min(CHUNK, left))
                if not chunk:
                    raise EOFError("it ends too early")
                left -= len(chunk)
                yield chunk


def list_tar(path: Path, origin: str, stamp: str) -> list[TarMember]:
    """Return the files in a plain archive, `origin` for the user; UserError for what is not read.

    `stamp` is that of the archive, and part of its members': nothing else tells that they changed.
    """
    try:
        with path.open("rb") as stream:
            with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="replace") as tar:
                infos = tar.getmembers()
            _check_end(stream, tar.offset)
    except DAMAGE as error:
        raise not_whole(origin, "tar", error) from error
    members: dict[str, TarMember] = {}
    for info in infos:
        if info.isdir() or not (name := member_path(info.name, origin)):
            continue
        # `tar c .` begins every name so
        name = posixpath.normpath(name)
        if not info.isreg() or info.issparse():
            odd = "a link, a device or a file with holes"
            raise UserError(f"{origin} holds {odd} ({name}): {UNPACK}.")
        if name in members:
            raise UserError(f"{origin} holds two files {name}: {UNPACK}.")
        own = f"{info.size}:{info.offset_data}:{stamp}"
        members[name] = TarMember(path, name, info.size, info.size, own, info.offset_data)
    return list(members.values())


def _check_end(stream: BinaryIO, offset: int) -> None:
    """Raise EOFError unless nothing but zeros follows: tarfile ends where a header is damaged."""
    stream.seek(offset)
    rest = iter(partial(stream.read, CHUNK), b"")
    first = next(rest, b"")
    if len(first) < tarfile.BLOCKSIZE:
        raise EOFError("it is cut short")
    if first.strip(b"\0") or any(chunk.strip(b"\0") for chunk in rest):
        raise EOFError(f"what follows byte {offset} is no list of files")


def is_gzip(path: Path) -> bool:
    """Tell by its first bytes whether a file is packed by gzip, whatever its name."""
    with path.open("rb") as stream:
        return stream.read(len(GZIP)) == GZIP


def unpack_gzip(path: Path, target: Path, origin: str) -> None:
    """Unpack a file to `target`, whole or not at all; `origin` is its name for the user.

    How large it becomes is known at its end only. Where it outgrows the disk, the rest is counted
    and the error says what is needed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    size, packed = 0, path.stat().st_size
    room = shutil.disk_usage(target.parent).free
    if room < packed:
        raise no_room(packed, target.parent, origin)
    temporary = target.with_name(target.name + ".part")
    try:
        with gzip.open(path) as stream, temporary.open("wb") as out:
            for chunk in iter(partial(stream.read, CHUNK), b""):
                size += len(chunk)
                check_growth(size, packed, origin)
                if size <= room:
                    out.write(chunk)
                else:
                    out.truncate(0)
    except DAMAGE as error:
        if is_of_the_system(error):
            raise
        raise not_whole(origin, "tar", error) from error
    if size > room:
        raise no_room(size, target.parent, origin)
    temporary.replace(target)
