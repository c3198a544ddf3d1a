"""What every command is made of, and the options that several commands share."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark import choices


class Command:
    """One verb of the command line; its docstring is its help.

    Modules of commands import the standard library at their top, so that help costs nothing;
    `run_command` imports the rest.
    """

    example = ""
    # earlier names of the verb, which still work
    aliases: tuple[str, ...] = ()
    # options that the command does not know go to the configuration, as `arguments.overrides`
    passes_on = False
    # the same command continues after an interruption
    resumes = False

    @property
    def summary(self) -> str:
        """First paragraph of the docstring, on one line."""
        return " ".join((self.__doc__ or "").split("\n\n")[0].split())

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        raise NotImplementedError

    def run_command(self, arguments: argparse.Namespace) -> None:
        """Do the work; a UserError is shown as one line."""
        raise NotImplementedError


def user_path(text: str) -> Path | None:
    """Expand `~` in a path; nothing typed is no path."""
    return Path(text).expanduser() if text else None


def comma_separated(text: str) -> list[str]:
    """Split `a,b` into its words."""
    return [word for word in text.split(",") if word]


def add_method_arguments(parser: argparse.ArgumentParser, data: str = "miniature") -> None:
    """Add METHOD, DATA, PROTOCOL and BACKBONE."""
    known = "see `imss list`; default %(default)s"
    parser.add_argument("--method", default="sgma", help=f"method or variant ({known})")
    parser.add_argument("--data", default=data, help=f"dataset or imported store ({known})")
    parser.add_argument("--protocol", default="standard", help=f"evaluation protocol ({known})")
    backbones = ", ".join(choices.BACKBONES)
    parser.add_argument("--backbone", default="", help=f"{backbones}; default: the method's own")


def add_runs_argument(parser: argparse.ArgumentParser) -> None:
    """Add RUNS."""
    text = "directory of runs (default %(default)s)"
    parser.add_argument("--runs", type=user_path, default=choices.DEFAULT_RUNS, help=text)


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """Add STORE."""
    text = "directory of scene stores (default %(default)s)"
    parser.add_argument("--store", type=user_path, default=choices.DEFAULT_STORE, help=text)


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    """Add RUN."""
    text = "a run directory that `bench` wrote"
    parser.add_argument("--run", type=user_path, required=True, help=text)


def add_scenes_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """Add SCENES; `default` says which are taken without it."""
    text = f"scene ids, comma separated (default: {default})"
    parser.add_argument("--scenes", type=comma_separated, default=[], help=text)


def add_out_argument(
    parser: argparse.ArgumentParser, text: str, default: str | None = None
) -> None:
    """Add OUT."""
    parser.add_argument("--out", type=user_path, default=default, help=text)


def add_record_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """Add what commands share that read run records and write tables: DATA, RUNS and OUT."""
    parser.add_argument("--data", default="", help="one dataset (default: all that have records)")
    add_runs_argument(parser)
    add_out_argument(parser, "directory to write (default %(default)s)", out)


def variable_name(action: argparse.Action) -> str:
    """Name an option as make does, after its last spelling: INCOMPLETE for `--incomplete`."""
    name = action.option_strings[-1] if action.option_strings else action.dest
    return name.lstrip("-").replace("-", "_").upper()


def variables_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Map the variables of make to the options of a command."""
    return {variable_name(entry): entry for entry in parser._actions if entry.dest != "help"}


def options_from_variables(parser: argparse.ArgumentParser, words: Sequence[str]) -> Iterator[str]:
    """Translate `NAME=value` into options; names that the command lacks are left out.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> _ = parser.add_argument("data")
        >>> _ = parser.add_argument("--force", action="store_true")
        >>> list(options_from_variables(parser, ["DATA=potsdam", "FORCE=1", "SEED=3"]))
        ['potsdam', '--force']
    """
    known = variables_of(parser)
    for word in words:
        name, _, value = word.partition("=")
        if name not in known or not value:
            continue
        action = known[name]
        if not action.option_strings:
            yield value
        elif action.nargs == 0:
            yield action.option_strings[0]
        elif action.nargs == "+":
            yield action.option_strings[0]
            yield from shlex.split(value)
        else:
            # one word, so that a value may start with a dash
            yield f"{action.option_strings[0]}={value}"
