"""`imss profile`."""

from __future__ import annotations

import argparse

from benchmark import choices
from benchmark.commands.options import (
    Command,
    add_method_arguments,
    add_out_argument,
    add_store_argument,
)


class Profile(Command):
    """Count parameters and multiply-accumulates of a method, measure latency and memory."""

    example = "imss profile --method sgma --data potsdam --device cpu"
    passes_on = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_method_arguments(parser, data="potsdam")
        text = "every shipped method; counts only unless --timing"
        parser.add_argument("--all", action="store_true", help=text)
        add_store_argument(parser)
        text = "of the square window, pixels (default: the dataset's)"
        parser.add_argument("--side", default="", help=text)
        text = "cpu, cuda, cuda:1, ... (default: cuda where there is one)"
        parser.add_argument("--device", default="", help=text)
        text = "with --all: latency and memory too"
        parser.add_argument("--timing", action="store_true", help=text)
        text = "timed repetitions after a warm-up; minimums count"
        parser.add_argument("--rounds", type=int, default=5, help=text)
        add_out_argument(parser, "directory to write (default %(default)s)", "results/complexity")

    def run_command(self, arguments: argparse.Namespace) -> None:
        import pandas as pd

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

        check_names(arguments)
        from benchmark.profiling.cost import measure_time, resolve_device

        with_timing = arguments.timing or not arguments.all
        if with_timing:
            resolve_device(arguments.device)  # before the work
        counts, timings = [], []
        for method in choices.methods() if arguments.all else [arguments.method]:
            chosen = setting(method, arguments, arguments.overrides)
            counts.append(row(chosen, counted(chosen)))
            if with_timing:
                built = chosen.build()
                timing = measure_time(built, chosen.given.side, arguments.device, arguments.rounds)
                timings.append(timing_row(chosen, timing))
            if arguments.all:
                print(f"{method}: {counts[-1]['GMAC all']:.1f} GMAC for all subsets", flush=True)
        out = arguments.out
        stem = arguments.data if arguments.all else f"{arguments.data}/{arguments.method}"
        report(out, stem, pd.DataFrame(counts), COUNTED)
        if timings:
            note = TIMED.format(rounds=arguments.rounds)
            report(out, f"{stem}.timings", pd.DataFrame(timings), note)
        if arguments.all:
            from benchmark.profiling.paper_costs import write_published

            for path in write_published(out, arguments):
                print(path)
