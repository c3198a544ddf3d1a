"""How many cores this process may use."""

import os


def usable_cores() -> int:
    """Count the cores that the job was given, which may be fewer than the machine has."""
    # not everywhere can a process be bound to cores
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
