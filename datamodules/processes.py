"""What several processes share: the cores of a job, and turns at what one of them is to make."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

# after which a lock is free that nobody has touched: its holder's machine is gone
LEASE_S = 120.0


def usable_cores() -> int:
    """Count the cores that the job was given, which may be fewer than the machine has."""
    # not everywhere can a process be bound to cores
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def hold(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`; if another process does, call `busy`, which may raise, and wait.

    The file names its holder, who touches it every 40 s, so that it works where several machines
    share a disk. One that a killed process left is taken over: at once on the same machine, from
    another one after two minutes without a sign of life.
    """
    from filelock import SoftFileLease, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    # as any request to end: the work of two must not mix
    end = partial(os.kill, os.getpid(), signal.SIGTERM)
    lock = SoftFileLease(path, lease_duration=LEASE_S, on_compromise=lambda _: end())
    try:
        # of a holder that was silent for long it is worth to wait for a sign
        lock.acquire(timeout=LEASE_S + 10 if _age_s(path) > LEASE_S else 0)
    except Timeout:
        busy()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
