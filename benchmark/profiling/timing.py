"""Comparing durations on a shared machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def time_interleaved(variants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Minimum seconds of each variant, after one uncounted run of each, in turn."""
    best = dict.fromkeys(variants, float("inf"))
    for number in range(rounds + 1):
        for name, action in variants.items():
            started = time.perf_counter()
            action()
            if number:
                best[name] = min(best[name], time.perf_counter() - started)
    return best
