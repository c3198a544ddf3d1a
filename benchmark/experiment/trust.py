"""What a run directory may make this program do.

Run directories are what co-authors send each other, so their configuration is input like any
other. Classes are the suite's own unless the user trusts the run, always of the suite's bases, and
what a run was logged or watched with is never built again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from benchmark.choices import is_config_file
from benchmark.experiment.config import import_class
from benchmark.records.overrides import read_overrides
from usererror import UserError

PACKAGES = {"methods", "datamodules"}
SECTIONS = {"model", "data", "evaluation", "cell", "trainer", "seed_everything"}
# of a stored run never, trusted or not: none changes a number of an evaluation
NEVER_BUILT = {"callbacks", "logger", "plugins", "profiler", "default_root_dir"}
TRUST = "add --trust (TRUST=1) if you know where the run comes from"
# a word without a dot cannot name a class, nor can a number
WORD = re.compile(r"[\w-]*|[-+]?\d[\d.]*([eE][-+]?\d+)?")


def import_stored_class(class_path: Any, base: type, trust: bool) -> Any:
    """Import a class that a run names: one of the suite's, or any if the run is trusted."""
    if not isinstance(class_path, str):
        raise UserError(f"The run names no class but {class_path!r}.")
    if class_path.partition(".")[0] not in PACKAGES and not trust:
        outside = f"The run names the class {class_path}, which is not part of the suite"
        raise UserError(f"{outside} and may do anything: {TRUST}.")
    found = import_class(class_path)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(f"The run names {class_path}, which is no {base.__name__}.")
    return found


def refuse_stored_files(*words: str) -> None:
    """Raise a UserError if what a run was asked for is a configuration file rather than a name."""
    for word in filter(is_config_file, words):
        text = f"The run was made with the configuration {word}, which may name any class"
        raise UserError(f"{text}: name it yourself with --method or --data, or {TRUST}.")


def trusted_overrides(words: Sequence[str], trust: bool) -> Iterator[str]:
    """Yield what of a run's own words may enter the configuration of an evaluation."""
    for key, text in read_overrides(words):
        section, *names = key.rstrip("+").split(".")
        first = names[0] if names else ""
        if section == "trainer" and first in NEVER_BUILT:
            continue
        value = _read_value(key, text)
        # a section as a whole names its class or another file
        plain = section in SECTIONS and bool(names) != (section == "seed_everything")
        plain &= "class_path" not in names and "config" not in names
        plain &= all(map(_is_plain, _leaves(value)))
        if section == "trainer":
            plain &= not isinstance(value, str) or bool(WORD.fullmatch(value))
        if not plain and not trust:
            said = f"The run was made with --{key}={text[:60]}, which may load classes or files"
            raise UserError(f"{said}: {TRUST}.")
        yield f"--{key}={text}"


def _read_value(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"The run was made with --{key}, which cannot be read.") from error


def _leaves(value: Any) -> Iterable[Any]:
    """Iterate over the keys and values of what was read."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield key
            yield from _leaves(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _leaves(entry)
    else:
        yield value


def _is_plain(value: Any) -> bool:
    # the parser reads texts again, so a backslash could hide the word
    return not isinstance(value, str) or not ("class_path" in value or "\\" in value)
