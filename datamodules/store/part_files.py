"""Temporary names beside what is being written, which say whose they are."""

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
HOST = socket.gethostname()  # machines that share a folder do not know of each other's processes


@contextmanager
def whole_file(target: Path, before: Path | None = None) -> Iterator[Path]:
    """Name a temporary file, which becomes `target` when the block ends: whole, or not at all.

    The file that was there becomes `before`.
    """
    part = part_of(target)
    try:
        yield part
        # on the disk before it has its name: a power failure leaves no half-written file
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        if before and target.exists():
            target.replace(before)
        part.replace(target)
    finally:
        # room for another try
        part.unlink(missing_ok=True)


def part_of(target: Path) -> Path:
    """Name a temporary file or folder of this process; those of killed processes are removed.

    Example:
        >>> part_of(Path("table.csv")).name == f"table.csv.{HOST}.{os.getpid()}.part"
        True
    """
    for path in target.parent.glob(f"{escape(target.name)}.{escape(HOST)}.*.part"):
        if not _runs(path.name.split(".")[-2]):
            # another process may be at it too
            shutil.rmtree(path, True) if path.is_dir() else path.unlink(missing_ok=True)
    return target.with_name(f"{target.name}.{HOST}.{os.getpid()}.part")


def _runs(process: str) -> bool:
    """Tell whether a process of this machine runs; what is no number is nobody's."""
    try:
        # asks whether it is there, and does nothing to it
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError, PermissionError):
        return True
    return True
