"""A method as a module, without data and without a run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import names

if TYPE_CHECKING:
    from methods.base import AnyModalitySegmenter

# any dataset at the published scale: the method's part of its configuration is the same
PAPER = "potsdam"


def build(method: str, channels: Mapping[str, int], num_classes: int, **options: Any) -> AnyModalitySegmenter:
    """The module of a method or variant at the published scale, without pretrained weights.

    Args:
        method: a name as typed after METHOD=.
        channels: modality -> channels.
        num_classes: K.
        options: constructor arguments that win over the configuration.

    Raises:
        UserError: a method that does not exist.
    """
    from benchmark.cli import ParsedCell, Request, quieten

    names.check("METHOD", method, names.methods())
    quieten()
    request = Request(method, PAPER, "standard", 0, "", Path(names.DEFAULT_RUNS), Path(names.DEFAULT_STORE))
    section = ParsedCell(request).parsed["model"]
    package, _, name = section["class_path"].rpartition(".")
    arguments = {**section["init_args"], **options}
    if "pretrained" in arguments:
        arguments["pretrained"] = False
    return getattr(import_module(package), name)(dict(channels), num_classes, **arguments)
