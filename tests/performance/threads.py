"""`make speed`, the part about threads: two trainings beside each other on the same cores."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import torch

from benchmark.choices import ROOT
from benchmark.machine import OWN_WISH, SPINS
from methods.sgma.module import SGMA
from tests.performance.variants import EAGER
from tests.performance.workloads import Case, training

STEPS = 5
CHILD = "from tests.performance.threads import steps_here; steps_here()"


def beside(rounds: int) -> None:
    """Training steps of one and of two processes, with and without what `imss` sets."""
    ways = {"as torch comes": {}, "=".join(SPINS): dict([SPINS])}
    best = {(name, count): float("inf") for name in ways for count in (1, 2)}
    for _ in range(rounds):
        for name, count in best:
            best[name, count] = min(best[name, count], _seconds(ways[name], count))
    print("  a training step of SGMA, PVT-v2-b0, 128 px, batch 8:")
    for name in ways:
        alone, two = best[name, 1], best[name, 2]
        print(f"  {name}: alone {alone:.2f} s, two beside each other {two:.2f} s")


def _seconds(extra: dict[str, str], count: int) -> float:
    """Seconds of a step of the slower process, the mean of its steps."""
    given = {k: v for k, v in os.environ.items() if k not in (SPINS[0], OWN_WISH)}
    children = []
    for _ in range(count):
        words, pipe = [sys.executable, "-c", CHILD], subprocess.PIPE
        child = subprocess.Popen(
            words, cwd=ROOT, env=given | extra, stdin=pipe, stdout=pipe, text=True
        )
        children.append(child)
    for child in children:
        # it is warm; they begin together
        assert child.stdout
        child.stdout.readline()
    for child in children:
        assert child.stdin
        child.stdin.write("\n")
        child.stdin.flush()
    return max(float(child.communicate()[0]) for child in children)


def steps_here() -> None:
    """The work of a process: say that it is warm, wait for a line, print the seconds of a step."""
    step = training(Case(SGMA, "pvt_v2_b0", 128, 8), EAGER, torch.device("cpu"))
    step()
    print(flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    print((time.perf_counter() - started) / STEPS)
