"""What a process asks of threads and memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import machine
from benchmark.choices import ROOT

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
TAKES_AND_FREES = """
import resource
from benchmark.machine import prepare_process

if {prepared}:
    prepare_process()
import torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(prepared: bool) -> int:
    """Count the pages that the system hands out while 64 MiB are taken and freed 20 times."""
    env = {key: value for key, value in os.environ.items() if key not in machine.ENVIRONMENT}
    words = [sys.executable, "-c", TAKES_AND_FREES.format(prepared=prepared)]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[madvise]" not in HUGE_PAGES.read_text(),
    reason="this system gives no huge pages on demand",
)
def test_tensors_lie_in_huge_pages() -> None:
    # a huge page is 512 of the others
    assert faults(False) > 20 * faults(True)


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in machine.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    machine.prepare_process()
    assert "GOMP_SPINCOUNT" not in os.environ
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    machine.prepare_process()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
