"""A method as a module, without data and without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import choices

if TYPE_CHECKING:
    from methods.base import AnyModalitySegmenter

# any dataset at the published scale: the method's part of its configuration is the same
PAPER = "potsdam"


def build(
    method: str, channels: Mapping[str, int], num_classes: int, **options: Any
) -> AnyModalitySegmenter:
    """The module of a method or variant at the published scale, without pretrained weights.

    Args:
        method: a name as typed after METHOD=.
        channels: modality -> channels.
        num_classes: K.
        options: constructor arguments that win over the configuration.

    Raises:
        UserError: a method that does not exist.
    """
    return instantiate(configuration(method)["model"], channels, num_classes, **options)


def configuration(
    method: str,
    data: str = PAPER,
    protocol: str = "standard",
    backbone: str = "",
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """The resolved configuration of a cell as plain values; the data need not be there.

    Args:
        method, data, protocol, backbone: names as typed.
        overrides: words for the configuration, as typed.

    Raises:
        UserError: a method that does not exist, or a configuration that does not parse.
    """
    from benchmark.experiment.lightning_cli import ParsedCell, mistake_behind, quieten
    from benchmark.experiment.request import Request

    choices.check("METHOD", method, choices.methods())
    quieten()
    places = (Path(choices.DEFAULT_RUNS), Path(choices.DEFAULT_STORE))
    request = Request(method, data, protocol, 0, backbone, *places, overrides=tuple(overrides))
    try:
        return ParsedCell(request).parsed
    except (Exception, SystemExit) as error:
        if (mistake := mistake_behind(error)) is not None:
            raise mistake from error
        raise


def instantiate(
    section: Mapping[str, Any], channels: Mapping[str, int], num_classes: int, **options: Any
) -> AnyModalitySegmenter:
    """The module that the `model` section of a configuration names, without pretrained weights; `options` win."""
    package, _, name = section["class_path"].rpartition(".")
    arguments = {**section["init_args"], **options}
    if "pretrained" in arguments:
        arguments["pretrained"] = False
    return getattr(import_module(package), name)(dict(channels), num_classes, **arguments)
