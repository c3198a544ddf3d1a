"""One process at a time: a lock that a killed process gives back, and that leaves no file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`; if another holds it, call `busy`, which may raise, and wait."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        busy()
        lock.acquire()
    try:
        yield
    finally:
        # whoever waits for this file notices that it is gone, and makes it anew
        path.unlink(missing_ok=True)
        lock.release()
