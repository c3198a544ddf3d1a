"""A method as a module, without data and without a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmark import choices
from benchmark.experiment.config import import_class
from benchmark.experiment.request import Request

if TYPE_CHECKING:
    from methods.base import AnyModalitySegmenter

# any dataset at the published scale: the method's part of its configuration is the same
PAPER = "potsdam"


def build_model(
    method: str, channels: Mapping[str, int], num_classes: int, **options: Any
) -> AnyModalitySegmenter:
    """Build a method or variant at the published scale, without pretrained weights.

    Args:
        method: a name as typed after METHOD=, or the path of a YAML file.
        channels: modality -> channels.
        num_classes: K.
        options: constructor arguments that win over the configuration.

    Raises:
        UserError: a method that does not exist.

    Example:
        >>> model = build_model("control", {"rgb": 3, "dsm": 1}, 5, backbone="pvt_v2_b0")
        >>> type(model).__name__, model.num_classes
        ('Control', 5)
    """
    request = Request(choices.resolve_method(method), PAPER)
    return instantiate_model(resolve_config(request)["model"], channels, num_classes, **options)


def resolve_config(request: Request) -> dict[str, Any]:
    """Resolve the configuration of a request as plain values; the data need not be there.

    Raises:
        UserError: the configuration does not parse.
    """
    from benchmark.experiment.lightning_cli import (
        ParsedExperiment,
        explain_parser_errors,
        silence_known_warnings,
    )

    silence_known_warnings()
    with explain_parser_errors():
        return ParsedExperiment(request).parsed


def instantiate_model(
    section: Mapping[str, Any], channels: Mapping[str, int], num_classes: int, **options: Any
) -> AnyModalitySegmenter:
    """Build what the `model` section of a configuration names, without pretrained weights.

    `options` win over the section.
    """
    arguments = {**section["init_args"], **options}
    # nothing is downloaded to be replaced by a checkpoint, or counted
    if "pretrained" in arguments:
        arguments["pretrained"] = False
    model: AnyModalitySegmenter = import_class(section["class_path"])(
        dict(channels), num_classes, **arguments
    )
    return model
