"""What a process asks of the operating system."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from benchmark.choices import ROOT

TAKES_AND_FREES = """
import resource
import numpy as np
from benchmark.machine import prepare_process

if {prepared}:
    prepare_process()
np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(prepared: bool, **variables: str) -> int:
    """Count the pages that the system hands out while 64 MiB are taken and freed 20 times."""
    clean = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    words = [sys.executable, "-c", TAKES_AND_FREES.format(prepared=prepared)]
    env = {**clean, **variables}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a matter of glibc")
def test_memory_that_is_freed_is_used_again() -> None:
    assert faults(False) > 10 * faults(True)
    # who has tuned the C library himself has the last word
    assert faults(True, MALLOC_TRIM_THRESHOLD_="131072") > 10 * faults(True)
