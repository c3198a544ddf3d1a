"""A method as a module, without data and without a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmark import choices
from benchmark.experiment.config import import_class, store_name
from benchmark.experiment.request import Request
from datamodules.prepare import ensure_store, will_generate

if TYPE_CHECKING:
    from methods.base import AnyModalitySegmenter

# any dataset at the published scale: the method's part of its configuration is the same
PAPER = "potsdam"


def build_model(
    method: str, channels: Mapping[str, int], num_classes: int, **options: Any
) -> AnyModalitySegmenter:
    """Build a method or variant at the published scale.

    `options` are constructor arguments that win over the configuration; pretrained weights are
    loaded with `pretrained=True` only.

    Example:
        >>> model = build_model("control", {"rgb": 3, "dsm": 1}, 5, backbone="pvt_v2_b0")
        >>> type(model).__name__, model.num_classes
        ('Control', 5)
    """
    from benchmark.experiment.lightning_cli import resolve_config

    request = Request(choices.resolve_method(method), PAPER)
    return instantiate_model(resolve_config(request)["model"], channels, num_classes, **options)


def checked_request(request: Request) -> Request:
    """Return a request with valid names and a complete store, or raise a UserError."""
    request = request.named()
    name = store_name(request.data)
    if will_generate(name, request.store):
        from benchmark.experiment.lightning_cli import resolve_config

        # a typing error in an override is said before half a minute of work
        resolve_config(request)
    ensure_store(name, request.store)
    return request


def instantiate_model(
    section: Mapping[str, Any], channels: Mapping[str, int], num_classes: int, **options: Any
) -> AnyModalitySegmenter:
    """Build what the `model` section of a configuration names.

    Without pretrained weights unless `options` ask for them.
    """
    arguments = dict(section["init_args"])
    # nothing is downloaded to be replaced by a checkpoint, or counted
    if "pretrained" in arguments:
        arguments["pretrained"] = False
    method = import_class(section["class_path"])
    model: AnyModalitySegmenter = method(dict(channels), num_classes, **arguments | options)
    return model
