"""Comparing durations on a shared machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def time_interleaved(variants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Take the minimum seconds of each variant, run in turn after one uncounted run of each."""
    # minimums, and in turn: on a shared machine medians of ratios wander by a factor of ten
    best = dict.fromkeys(variants, float("inf"))
    for number in range(rounds + 1):
        for name, action in variants.items():
            started = time.perf_counter()
            action()
            if number:
                best[name] = min(best[name], time.perf_counter() - started)
    return best
