"""`imss list` and `imss weights`: what there is.

`list` needs the standard library only, so that `make help` works before the installation.
"""

import argparse

from benchmark import choices
from benchmark.commands.options import Command, add_flag, add_option, add_store, variables_of


class ListNames(Command):
    """List methods, datasets, protocols and backbones."""

    example = "imss list"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_store(parser)
        add_flag(parser, "--targets", "also the commands as targets of make, with their variables")

    def run_command(self, arguments: argparse.Namespace) -> None:
        if arguments.targets:
            for verb, parser in arguments.parsers.items():
                if not parser.prog.endswith(verb):
                    continue  # an alias, whose parser is that of its verb
                print(f"  make {verb:16} {parser.description}")
                print(f"       {'':16} {' '.join(variables_of(parser))}")
            print()
        for label, entries in (
            ("METHOD", choices.methods()),
            ("DATA", choices.datasets(arguments.store)),
            ("PROTOCOL", choices.protocols()),
            ("SCENARIO", choices.scenarios()),
            ("SCALE", choices.SCALES),
            ("BACKBONE", choices.BACKBONES),
            ("LOGGER", choices.LOGGERS),
        ):
            print(f"{label:9} {', '.join(entries)}")


class Weights(Command):
    """Print the pretrained weights that methods start from: licence, size, where they are."""

    example = "imss weights sgma --fetch"
    passes_on = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        text = "method or variant, or the path of a YAML file (default: all)"
        parser.add_argument("method", nargs="?", default="", help=text)
        add_option(parser, "--backbone", "", "another encoder (default: the method's own)")
        add_flag(parser, "--fetch", "download what is not in the cache, before going offline")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.experiment.models import PAPER
        from benchmark.experiment.request import Request
        from benchmark.formats.markdown import print_table
        from benchmark.weights.sources import fetch, weights_of, weights_table

        asked = {"backbone": arguments.backbone, "overrides": tuple(arguments.overrides)}
        found = {}
        for method in [arguments.method] if arguments.method else choices.methods():
            request = Request(method, PAPER, **asked)
            weights = weights_of(request)
            found[request.variant] = list(map(fetch, weights)) if arguments.fetch else weights
        table = weights_table(found)
        if table.empty:
            print(f"{', '.join(found)}: random weights at every scale, nothing is loaded.")
            return
        print_table("Pretrained weights at the published scale; small runs load none", table)
