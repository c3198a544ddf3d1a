"""`imss list`: standard library only, so that `make help` works before the installation."""

import argparse

from benchmark import choices
from benchmark.commands.options import Command, add_flag, add_store, variables_of


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
