"""What several processes share: the cores of a job, and turns at what one of them is to make."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def usable_cores() -> int:
    """Count the cores that the job was given, which may be fewer than the machine has."""
    # not everywhere can a process be bound to cores
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
