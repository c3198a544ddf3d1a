"""The command line: finds the command, and turns what a user can mend into one line.

Example:
    >>> arguments, command = parse_words(["bench", "METHOD=magic", "--seed", "3"])
    >>> type(command).__name__, arguments.method, arguments.seed
    ('Bench', 'magic', 3)
"""

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from types import FrameType
from typing import Any, NoReturn

from benchmark.border import TRACEBACK, explain
from benchmark.choices import CONFIG_SECTIONS, VARIABLE_OF_CELL, nearest, validate_choice
from benchmark.commands import (
    bench,
    data,
    inspect_run,
    list_names,
    predict,
    profile,
    records,
    reliability,
    robustness,
    sweep,
)
from benchmark.commands.options import Command, options_from_variables, variables_of
from benchmark.formats.terminal import accept_any_character
from benchmark.machine import prepare_process
from datamodules.store.names import printable
from usererror import TERMINATED, UserError

# verb -> command, in the order of the help
COMMANDS: dict[str, Command] = {
    "bench": bench.Bench(),
    "evaluate": bench.Evaluate(),
    "robustness": robustness.Robustness(),
    "sweep": sweep.Sweep(),
    "sweep-plan": sweep.SweepPlan(),
    "sweep-status": sweep.SweepStatus(),
    "sweep-cancel": sweep.SweepCancel(),
    "sweep-logs": sweep.SweepLogs(),
    "sweep-cell": sweep.SweepCell(),
    "reproduce": sweep.Reproduce(),
    "data": data.Data(),
    "show": data.Show(),
    "scenarios": data.Scenarios(),
    "leaderboard": records.Leaderboard(),
    "report": records.Report(),
    "sensor-value": records.SensorValue(),
    "compare": records.Compare(),
    "conventions": records.Conventions(),
    "publish": records.Publish(),
    "tables": records.Tables(),
    "audit": records.Audit(),
    "profile": profile.Profile(),
    "predict": predict.Predict(),
    "export": predict.Export(),
    "publish-weights": predict.PublishWeights(),
    "picture": inspect_run.Picture(),
    "examples": inspect_run.Examples(),
    "synthesised": inspect_run.Synthesised(),
    "diagnose": inspect_run.Diagnose(),
    "reliability": reliability.Reliability(),
    "wandb-workspace": records.WandbWorkspace(),
    "wandb-import": records.WandbImport(),
    "list": list_names.ListNames(),
    "weights": list_names.Weights(),
}
VARIABLE = re.compile(r"\w+=")
SECTIONS = (*CONFIG_SECTIONS, "seed_everything", "config")


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are a user's mistakes like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise a UserError."""
        raise UserError(f"{message}; {self.prog} --help explains.")


def build_parser() -> tuple[OneLineParser, dict[str, OneLineParser]]:
    """Build the parser of the program and those of its commands, by verb and alias."""
    description = "Benchmark of incomplete multimodal semantic segmentation."
    # no abbreviations: `--data` must not be what a longer name was meant to be
    whole_names: dict[str, Any] = {"allow_abbrev": False}
    parser = OneLineParser(prog="imss", description=description, **whole_names)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb, command in COMMANDS.items():
        text = command.summary
        texts: dict[str, Any] = {"help": text, "description": text}
        own = commands.add_parser(verb, aliases=command.aliases, **texts, **whole_names)
        own.formatter_class = argparse.RawDescriptionHelpFormatter
        own.epilog = f"example:\n  {command.example}"
        if command.passes_on:
            own.epilog += "\n\nOptions that are not listed here go to the configuration, for "
            own.epilog += "instance\n  --trainer.max_epochs 2 --model.optimizer.lr 1e-4"
        command.add_arguments(own)
        # `list` prints the options of all commands
        own.set_defaults(command=command, parsers=commands.choices)
    return parser, commands.choices


def parse_words(argv: Sequence[str]) -> tuple[argparse.Namespace, Command]:
    """Parse a command line; `NAME=value` directly after the verb is what make was given."""
    parser, parsers = build_parser()
    words = list(argv)
    # `sweep plan` is `sweep-plan`
    if "-".join(words[:2]) in parsers:
        words[:2] = ["-".join(words[:2])]
    if not {"-h", "--help"} & set(words[:1]):
        validate_choice("command", words[0] if words else "", list(parsers))
    # only there: `predict --input NIR=file` must not be taken for a variable
    if words[0] in parsers:
        end = 1
        while end < len(words) and VARIABLE.match(words[end]):
            end += 1
        words[1:end] = options_from_variables(parsers[words[0]], words[1:end])
        ask_for_what_is_missing(parsers[words[0]], words)
    arguments, overrides = parser.parse_known_args(words)
    command: Command = arguments.command
    check_overrides(overrides, parsers[words[0]])
    arguments.overrides = overrides
    return arguments, command


def ask_for_what_is_missing(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Raise a UserError that names what a command needs, as variables of make."""
    if {"-h", "--help"} & set(words):
        return
    given = {word.partition("=")[0] for word in words}
    missing = []
    for name, action in variables_of(parser).items():
        if action.required and action.option_strings and not given & set(action.option_strings):
            missing.append(f"{name}=<{action.help}>")
    if missing:
        command: Command = parser.get_default("command")
        verb, needs = parser.prog.split()[-1], " and ".join(missing)
        raise UserError(f"{verb} needs {needs}; for example: {command.example}")


def check_overrides(overrides: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Raise a UserError for a word that neither the command nor the configuration has."""
    command: Command = parser.get_default("command")
    verb, value_follows = parser.prog.split()[-1], False
    for word in overrides:
        name, sign, _ = word.partition("=")
        section, _, setting = name[2:].partition(".")
        if not name.startswith("--"):
            if not value_follows:
                remedy = "options are --name value, and a value with spaces is quoted"
                if sign:
                    remedy = "variables of make come directly after the command"
                raise UserError(f"{verb} does not know what {word} is for: {remedy}.")
        elif section == "cell" and setting in VARIABLE_OF_CELL:
            # alone it would change the label and nothing else
            variable = VARIABLE_OF_CELL[setting]
            raise UserError(f"{name} is chosen as {variable}=, which reads its files too.")
        elif not command.passes_on or section not in SECTIONS:
            spellings = chain.from_iterable(action.option_strings for action in parser._actions)
            sections = ", ".join(f"--{section}.<name>" for section in SECTIONS[:4])
            has = f"; the configuration has {sections}" if command.passes_on else ""
            raise UserError(f"{verb} has no option {name}{has}.{nearest(name, spellings)}")
        value_follows = name.startswith("--") and not sign


@contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as an exception, so that what is temporary is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no other thread can handle signals
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status is 2 after a user's mistake, 130 or 143 after a signal."""
    if argv is None:
        prepare_process()
    status = run_words(sys.argv[1:] if argv is None else argv)
    if argv is None:
        # all is done but the end of Python, which takes a second, with torch in it
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(status))
    return status


def run_words(words: Sequence[str]) -> int:
    """Run the command that the words name, and return its exit status."""
    accept_any_character()
    goes_on = "starts again"
    try:
        arguments, command = parse_words(words)
        if command.resumes:
            goes_on = "continues where it stopped"
        with ends_on_sigterm():
            command.run_command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader of our output has gone, as `| head` does; the flush at exit would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        line = explain(error, goes_on)
        if line is None or os.environ.get(TRACEBACK):
            raise
        if line:
            print(f"imss: {printable(line)}", file=sys.stderr)
        return error.status if isinstance(error, UserError) else 2
    except SystemExit as stop:
        if stop.code != TERMINATED:
            raise
        print(f"imss: terminated; the same command {goes_on}.", file=sys.stderr)
        return TERMINATED
    except KeyboardInterrupt:
        print(f"imss: interrupted; the same command {goes_on}.", file=sys.stderr)
        # Python would end itself with SIGINT later if the exception has come through an `exec`,
        # such as that of a dataclass; the next one forgets it
        exec("")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
