"""`imss profile`."""

import argparse
from dataclasses import replace

from benchmark import choices
from benchmark.commands import options
from benchmark.commands.options import Command, add_flag, add_option
from usererror import UserError


class Profile(Command):
    """Count parameters and multiply-accumulates of a method, measure latency and memory."""

    example = "imss profile --method sgma --data potsdam --device cpu"
    passes_on = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_method_arguments(parser, data="potsdam")
        add_flag(parser, "--all", "every shipped method; counts only unless --timing")
        add_option(parser, "--side", 0, "of the square window, pixels (default: the dataset's)")
        add_option(parser, "--device", "", "cpu, cuda, cuda:1 (default: a GPU if there is one)")
        add_flag(parser, "--timing", "with --all: latency and memory too")
        add_option(parser, "--rounds", 5, "timed repetitions after a warm-up; minimums count")
        add_flag(
            parser, "--memory", "of a training step, and the batch that each size of GPU holds"
        )
        options.add_runs(parser)
        options.add_out(parser)

    def run_command(self, arguments: argparse.Namespace) -> None:
        if arguments.side and arguments.side < 32:
            raise UserError(f"SIDE {arguments.side}: a window has 32 pixels a side or more.")
        if arguments.rounds < 1:
            raise UserError(f"--rounds {arguments.rounds}: at least one run must count.")
        from benchmark.experiment.request import Request
        from benchmark.profiling.profile import COUNTED, TIMED, profile_method, write_table

        names = ("method", "data", "protocol", "scale", "backbone", "store")
        given = options.values_of(arguments, *names)
        request = Request(**given, overrides=tuple(arguments.overrides))
        # wrong names and devices are said before the work
        profiled = profile_method(request, arguments.side)
        with_timing = arguments.timing or not arguments.all
        if with_timing:
            from benchmark.profiling.cost import resolve_device

            resolve_device(arguments.device)
        out = options.output_directory(arguments, "complexity")
        counts, timings, steps = [], [], []
        for method in choices.methods() if arguments.all else [request.method]:
            profiled = profile_method(replace(request, method=method), arguments.side)
            counts.append(profiled.cost_row())
            if arguments.memory:
                from benchmark.profiling.presets import STEPS, training_row

                steps.append(training_row(replace(request, method=method), arguments.side))
            if with_timing:
                timings.append(profiled.timing_row(arguments.device, arguments.rounds))
            if arguments.all:
                gmac = counts[-1]["GMAC all"]
                print(f"{method}: {gmac:.1f} GMAC for all subsets", flush=True)
        stem = request.dataset if arguments.all else f"{request.dataset}/{request.variant}"
        write_table(out, stem, counts, COUNTED)
        if timings:
            note = TIMED.format(rounds=arguments.rounds)
            write_table(out, f"{stem}.timings", timings, note)
        if steps:
            write_table(out, f"{stem}.training", steps, STEPS)
        if arguments.all:
            from benchmark.profiling.paper_costs import write_published_costs
            from benchmark.profiling.protocol_table import write_protocols

            for path in (*write_published_costs(out, arguments.store), *write_protocols(out)):
                print(path)
