"""What every command is made of, and the options that several commands share."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark import choices
from usererror import UserError

# variables that say where things are may be given to every command
PLACES = ("RUNS", "STORE")


class Command:
    """One verb of the command line; the first line of its docstring is its help."""

    # the rest is imported by `run_command`, so that help costs no more than the standard library

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
    return list(filter(None, text.split(",")))


def values_of(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Take some of the arguments, by name."""
    return {name: getattr(arguments, name) for name in names}


def add_option(
    parser: argparse.ArgumentParser, name: str, default: Any, text: str, **more: Any
) -> None:
    """Add an option of the type of its default, which the help says unless `text` does."""
    if default not in ("", []) and "default" not in text:
        text += " (default %(default)s)"
    # list() would split a word into its letters
    kind = comma_separated if isinstance(default, list) else type(default)
    parser.add_argument(name, type=kind, default=default, help=text, **more)


def read_seeds(words: Sequence[str]) -> list[int]:
    """Read seeds; a UserError for what is no number.

    Example:
        >>> read_seeds(["0", "2", "0"])
        [0, 2]
    """
    try:
        # named twice is wanted once
        seeds = list(dict.fromkeys(map(int, words)))
    except ValueError:
        seeds = []
    if not seeds:
        raise UserError(f"SEED is {','.join(words)!r}: give numbers, such as 0 or 0,1,2.")
    return seeds


def add_flag(parser: argparse.ArgumentParser, *names_and_text: str) -> None:
    """Add a switch; the last word is its help."""
    parser.add_argument(*names_and_text[:-1], action="store_true", help=names_and_text[-1])


def add_path(
    parser: argparse.ArgumentParser, name: str, text: str, default: str | None = None, **more: Any
) -> None:
    """Add the path of a file or folder; `~` is expanded."""
    if default:
        text += " (default %(default)s)"
    parser.add_argument(name, type=user_path, default=default, help=text, **more)


def add_method_arguments(parser: argparse.ArgumentParser, data: str = "miniature") -> None:
    """Add METHOD, DATA, PROTOCOL, SCALE, BACKBONE and STORE."""
    add_option(parser, "--method", "sgma", "method or variant, or the path of a YAML file")
    add_option(parser, "--data", data, "dataset or imported store, or the path of a YAML file")
    add_option(parser, "--protocol", "standard", "evaluation protocol")
    text = "small (minutes, random weights: a trial) or paper (as published); default: the data's"
    add_option(parser, "--scale", "", text)
    backbones = ", ".join(choices.BACKBONES)
    text = f"{backbones}, or one that its own encoder has; default: the method's own"
    add_option(parser, "--backbone", "", text)
    add_store(parser)


def add_data_argument(parser: argparse.ArgumentParser, text: str) -> None:
    """Add DATA as a word without an option's name."""
    text += " (default %(default)s)"
    parser.add_argument("data", nargs="?", default="miniature", help=text)


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add STORE."""
    add_path(parser, "--store", "directory of scene stores", choices.DEFAULT_STORE)


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add RUNS."""
    add_path(parser, "--runs", "directory of runs", choices.DEFAULT_RUNS)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add RUN."""
    add_path(parser, "--run", "a run directory that `bench` wrote", required=True)


def add_trained_run(parser: argparse.ArgumentParser) -> None:
    """Add RUN and TRUST, for what builds the network of a run."""
    add_run(parser)
    add_trust(parser)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add TRUST."""
    text = "build a method from outside the suite that the run names: it may do anything"
    add_flag(parser, "--trust", text)


def add_record_arguments(parser: argparse.ArgumentParser, out: str | None = None) -> None:
    """Add what commands share that read run records and write tables: DATA, RUNS and OUT."""
    text = "one dataset (default: all that have records)"
    parser.add_argument("--data", type=choices.short_name, default="", help=text)
    add_runs(parser)
    add_out(parser, out)


def add_out(parser: argparse.ArgumentParser, out: str | None = None) -> None:
    """Add OUT of what is made of runs."""
    text = "directory to write" + ("" if out else " (default: beside the runs)")
    add_path(parser, "--out", text, out)


def add_wide(parser: argparse.ArgumentParser) -> None:
    """Add WIDE."""
    add_flag(parser, "--wide", "print all columns of the leaderboard, and the conditions")


def output_directory(arguments: argparse.Namespace, name: str) -> Path:
    """Return OUT, or where a folder of this name lies beside the runs."""
    out: Path = arguments.out or choices.beside_runs(arguments.runs, name)
    return out


def variables_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Map variables of make, as INCOMPLETE for `--incomplete`, to the options of a command."""
    variables = {}
    # argparse has no public list of its actions
    for action in parser._actions:
        last_spelling = [action.dest, *action.option_strings][-1]
        variables[last_spelling.lstrip("-").replace("-", "_").upper()] = action
    del variables["HELP"]
    return variables


def options_from_variables(parser: argparse.ArgumentParser, words: Sequence[str]) -> Iterator[str]:
    """Translate `NAME=value` into options; a UserError for a name that the command lacks.

    Example:
        >>> parser = argparse.ArgumentParser(prog="imss bench")
        >>> _ = parser.add_argument("data")
        >>> _ = parser.add_argument("--force", action="store_true")
        >>> list(options_from_variables(parser, ["DATA=potsdam", "FORCE=1", "RUNS=elsewhere"]))
        ['potsdam', '--force']
        >>> list(options_from_variables(parser, ["data=potsdam"]))
        Traceback (most recent call last):
        usererror.UserError: bench has no variable data, only DATA FORCE. Did you mean DATA?
    """
    known = variables_of(parser)
    places = dict(zip(known, range(len(known)), strict=True))
    # make sorts its variables, but words without a name are known by their order
    for word in sorted(words, key=lambda word: places.get(word.partition("=")[0], -1)):
        name, _, value = word.partition("=")
        if name not in known and name not in PLACES:
            verb, has = parser.prog.split()[-1], " ".join(known)
            near = choices.nearest(name, known)
            command: Command | None = parser.get_default("command")
            if not near and command and command.passes_on:
                near = ' Settings of the configuration go into ARGS="--trainer.max_epochs 2".'
            raise UserError(f"{verb} has no variable {name}, only {has}.{near}")
        if name not in known or not value:
            continue
        # FORCE=0 is no wish to run again
        if known[name].nargs == 0 and value.casefold() in ("0", "no", "false", "off"):
            continue
        spellings, nargs = known[name].option_strings, known[name].nargs
        if not spellings:
            yield value
        elif nargs == 0:
            yield spellings[0]
        elif nargs == "+":
            # several words in one variable, split as a shell does
            yield from (spellings[0], *shlex.split(value))
        else:
            # one word, so that a value may start with a dash
            yield f"{spellings[0]}={value}"
