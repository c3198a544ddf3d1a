"""A file inside an archive, and the limits that keep one from filling memory and disk.

A damaged or malicious archive ends in one line; each limit is said by name.
"""

import errno
import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from datamodules.ingest.archives.names import UNPACK
from usererror import UserError

# what zipfile, tarfile and their decompressors raise for damage
DAMAGE = (
    struct.error, lzma.LZMAError, zlib.error, zipfile.BadZipFile, tarfile.TarError, EOFError,
    MemoryError, OSError, OverflowError, RuntimeError, ValueError,
)  # fmt: skip
MAX_TEXT_BYTES = 64 << 20  # of a table or a description
# of what is so large: labels of one class shrink to a thousandth, photos do not
MAX_RATIO, RATIO_FROM_BYTES = 200, 1 << 30
CHUNK = 1 << 20  # bytes that are held at a time


@dataclass(frozen=True)
class Member:
    """A file inside the archive at `archive`, where it takes `packed` bytes.

    `name` is its path in there; `stamp` changes when the content does: size, a colon, what else.
    """

    archive: Path
    name: str
    size: int
    packed: int
    stamp: str

    def chunks(self) -> Iterator[bytes]:
        """Yield the content; raises one of `DAMAGE` where it is damaged."""
        raise NotImplementedError

    def copy_to(self, target: Path, origin: str) -> None:
        """Write the content to `target`, whole or not at all; `origin` is its name for the user."""
        target.parent.mkdir(parents=True, exist_ok=True)
        check_growth(self.size, self.packed, origin)
        # said before, not after hours of unpacking
        if shutil.disk_usage(target.parent).free < self.size:
            raise no_room(self.size, target.parent, origin)
        temporary = target.with_name(target.name + ".part")
        with tell_damage(origin), temporary.open("wb") as out:
            out.writelines(self.chunks())
        temporary.replace(target)


def check_text_size(size: int, origin: str, most: int = MAX_TEXT_BYTES) -> None:
    """Raise UserError for a table or a description that is too large to be one."""
    if size > most:
        limit = f"{most >> 20} MiB is the limit of a table or a description"
        raise UserError(f"{origin} has {size / 1e6:.0f} MB: {limit}. Is it the right file?")


def check_growth(size: int, packed: int, origin: str) -> None:
    """Raise UserError for what grows beyond measure when it is unpacked."""
    if size > RATIO_FROM_BYTES and size / max(packed, 1) > MAX_RATIO:
        grows = f"{origin} grows from {packed / 1e6:.0f} MB to {size / 1e6:.0f} MB"
        limit = f"more than {MAX_RATIO} times is the limit"
        raise UserError(f"{grows} ({limit}): if that is right, {UNPACK}.")


def no_room(size: int, folder: Path, origin: str) -> UserError:
    """Return the error for a disk that is too small."""
    free = shutil.disk_usage(folder).free
    room = f"{size / 1e6:.0f} MB in {folder}; {free / 1e6:.0f} MB are free"
    return UserError(f"Unpacking {origin} needs {room}: make room.")


def not_whole(origin: str, kind: str, error: BaseException) -> UserError:
    """Return the error for an archive that cannot be looked into."""
    remedy = "download it again or take it away"
    # the last part of a split zip file says so
    if "disk" in str(error) or "span" in str(error):
        remedy = "it is one part of several: " + UNPACK
    return UserError(f"{origin} is not a whole {kind} file ({error}): {remedy}.")


@contextmanager
def tell_damage(origin: str) -> Iterator[None]:
    """Tell what goes wrong while a member is unpacked as damage of the file `origin`."""
    try:
        yield
    except DAMAGE as error:
        if is_of_the_system(error):
            raise
        text = f"{origin} is damaged inside its archive ({error}): download the archive again."
        raise UserError(text) from error


def is_of_the_system(error: BaseException) -> bool:
    """Tell a full disk or no permission, which have a number, from damage."""
    # bz2 and wrong offsets raise without one
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
