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
HOLDS_TENSOR = """
import re
from pathlib import Path
from benchmark.machine import prepare_process

if {prepared}:
    prepare_process()
import torch
tensor = torch.ones(2**26)
found = re.search(r"AnonHugePages: +(\\d+) kB", Path("/proc/self/smaps_rollup").read_text())
print(found[1])
"""


def huge_pages(prepared: bool) -> int:
    """Count the kilobytes in huge pages of a process that holds a tensor of 256 MiB."""
    env = {key: value for key, value in os.environ.items() if key not in machine.ENVIRONMENT}
    words = [sys.executable, "-c", HOLDS_TENSOR.format(prepared=prepared)]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[madvise]" not in HUGE_PAGES.read_text(),
    reason="this system gives no huge pages on demand",
)
def test_large_tensors_lie_in_huge_pages() -> None:
    # all of the tensor would be 262144; less where memory is in pieces
    assert huge_pages(True) - huge_pages(False) > 16384


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
