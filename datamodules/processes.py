"""What several processes share: the cores of a job, and turns at what one of them is to make."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

# after which a lock is free that nobody has touched: its holder's machine is gone
LEASE_S = 120.0
POLL_S = 0.5


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
    another one after two minutes without a sign of life, for which it waits: a queue starts a job
    of a machine that is gone on another one at once, and only once.
    """
    from filelock import SoftFileLease, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    # as any request to end: the work of two must not mix
    end = partial(os.kill, os.getpid(), signal.SIGTERM)
    lock = SoftFileLease(path, lease_duration=LEASE_S, on_compromise=lambda _: end())
    seen = _touched_at(path)

    def is_alive() -> bool:
        owner, touched = lock.owner, _touched_at(path)
        # one of this machine that is gone has lost the file already; a stopped one is silent
        here = owner is not None and owner.hostname == this_machine()
        return touched > seen or here and time.time() - touched <= LEASE_S

    try:
        lock.acquire(timeout=LEASE_S + 10, poll_interval=POLL_S, cancel_check=is_alive)
    except Timeout:
        busy()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@cache
def this_machine() -> str:
    """Return what a lock file calls this machine, or this container: its name alone is not enough.

    The pods that follow each other in a place of a Kubernetes job have one name, and number their
    processes alike.
    """
    from filelock import SoftFileLease

    with TemporaryDirectory() as folder, SoftFileLease(Path(folder, "lock")) as lock:
        owner = lock.owner
        return owner.hostname if owner else ""


def _touched_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
