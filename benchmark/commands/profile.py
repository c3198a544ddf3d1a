"""The `imss profile` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmark import choices

if TYPE_CHECKING:
    pass
from benchmark.profiling.profile import (
    COUNTED,
    TIMED,
    check_names,
    counted,
    report,
    row,
    setting,
    timing_row,
)


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Count one method and time it, or count all of them."""
    check_names(arguments)
    from benchmark.profiling.cost import timed, usable

    with_timing = arguments.timing or not arguments.all
    if with_timing:
        usable(arguments.device)  # before the work
    counts, timings = [], []
    for method in choices.methods() if arguments.all else [arguments.method]:
        chosen = setting(method, arguments, overrides)
        counts.append(row(chosen, counted(chosen)))
        if with_timing:
            timing = timed(chosen.build(), chosen.given.side, arguments.device, arguments.rounds)
            timings.append(timing_row(chosen, timing))
        if arguments.all:
            print(f"{method}: {counts[-1]['GMAC all']:.1f} GMAC for all subsets", flush=True)
    out = Path(arguments.out).expanduser()
    stem = arguments.data if arguments.all else f"{arguments.data}/{arguments.method}"
    report(out, stem, pd.DataFrame(counts), COUNTED)
    if timings:
        report(out, f"{stem}.timings", pd.DataFrame(timings), TIMED.format(rounds=arguments.rounds))
    if arguments.all:
        from benchmark.profiling.paper_costs import write_published

        for path in write_published(out, arguments):
            print(path)
