"""Memory that an action needs at its peak."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def held(device: torch.device) -> int:
    """Count the bytes in use: of the GPU's allocator, else resident ones of the process."""
    gc.collect()
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    # freed memory that the C library keeps would hide what the next action takes of it
    ctypes.CDLL(None).malloc_trim(0)
    return _resident("VmRSS")


def peak_of(action: Callable[[], object], device: torch.device) -> int:
    """Run an action; return the most bytes that were in use meanwhile."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        action()
        return torch.cuda.max_memory_allocated(device)
    RESET.write_text("5", encoding="utf-8")
    action()
    return _resident("VmHWM")


def _resident(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text(encoding="utf-8"))
    assert found
    return 1024 * int(found[1])
