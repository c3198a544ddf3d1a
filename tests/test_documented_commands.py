"""Every command that a document names exists, with the variables and options it is shown with."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import lightning
import pytest

from benchmark.__main__ import build_parser, parse_words
from benchmark.commands.options import options_from_variables
from benchmark.evaluation.callback import MissingModalityEvaluation
from benchmark.experiment.identity import ExperimentConfig
from datamodules.base import SceneDataModule
from tests.test_documents import DOCUMENTS, ROOT
from usererror import UserError

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
OWN = set(re.findall(r"^([a-z-]+): \$\(STAMP\)", MAKEFILE, flags=re.M)) | {"help", "clean"}
KNOWN = set(re.search(r"^known +=(.*)$", MAKEFILE, flags=re.M)[1].split())  # type: ignore[index]
STARTS = ("make ", "imss ", ".venv/bin/imss ")
METHODS = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("methods/**/*.py"))
OF_CLASS = {
    "data": SceneDataModule,
    "trainer": lightning.Trainer,
    "cell": ExperimentConfig,
    "evaluation": MissingModalityEvaluation,
}


def commands(path: Path) -> Iterator[tuple[list[str], bool]]:
    """Words of every command of a document, and whether it stands whole in a block of its own."""
    text = re.sub(r"^<!-- .*?-->", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    for block in re.findall(r"^```(?:bash|sh)?\n(.*?)^```", text, flags=re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(STARTS):
                yield shlex.split(line, comments=True), True
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for span in re.findall(r"`([^`]+)`", prose):
        if span.startswith(STARTS):
            yield shlex.split(span), False


def problem(words: list[str], whole: bool) -> str:
    """What is wrong with a command, by the parser that would read it."""
    verb = words[1]
    if words[0] == "make" and verb in OWN:
        strange = {w.partition("=")[0] for w in words[2:]} - KNOWN
        # `make profile-all` and the like hand theirs on
        return f"unknown variables {strange}" if strange and verb != "profile-all" else ""
    given = [word for word in words[2:] if not word.startswith("ARGS=")]
    more = [word for word in words[2:] if word.startswith("ARGS=")]
    extra = shlex.split(more[0].partition("=")[2]) if more else []
    try:
        if whole:
            _, command = parse_words([verb, *given, *extra])
        else:
            parser = build_parser()[1][verb]
            variables = [word for word in given if re.match(r"[A-Z_]+=", word)]
            list(options_from_variables(parser, variables))
    except (UserError, KeyError) as error:
        return str(error)
    return ""


def unknown_setting(word: str) -> str:
    """A word such as `--data.stride` that the configuration does not have, or nothing."""
    section, *names = word.removeprefix("--").split("=")[0].split(".")
    name = next(part for part in names if part != "init_args")
    if section in OF_CLASS:
        return "" if name in inspect.signature(OF_CLASS[section]).parameters else word
    return "" if re.search(rf"\b{name}\s*:", METHODS) else word


# the changelog tells of what was
NOW = [entry for entry in DOCUMENTS if entry.id != "CHANGELOG.md"]


@pytest.mark.parametrize("path", NOW)
def test_commands_and_options_exist(path: Path) -> None:
    wrong = []
    for words, whole in commands(path):
        # `imss COMMAND --help` stands for all of them
        if "--help" not in words and (found := problem(words, whole)):
            wrong.append(f"{shlex.join(words)}: {found}")
    settings = re.findall(r"--[a-z_]+(?:\.[a-z_]+)+", path.read_text(encoding="utf-8"))
    wrong += [f"no such setting: {word}" for word in settings if unknown_setting(word)]
    assert not wrong


def test_an_invented_one_is_found() -> None:
    assert problem(["make", "bench", "METHODS=a"], True)
    assert problem(["make", "lint", "METHOD=a"], True)
    assert problem(["imss", "bench", "--methods", "a"], True)
    assert problem(["make", "bnech"], False)
    assert unknown_setting("--data.no_such_thing") and not unknown_setting("--data.stride")
