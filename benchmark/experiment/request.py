"""What a user asked for, checked by name."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import choices
from datamodules.prepare import ensure_store

if TYPE_CHECKING:
    from benchmark.experiment.request import Request

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """What the user asked for, checked by name.

    Args:
        overrides: words for the configuration, as typed.
    """

    method: str
    data: str
    protocol: str
    seed: int
    backbone: str
    runs: Path
    store: Path
    logger: str = "csv"
    overrides: Sequence[str] = field(default_factory=tuple)


def checked_request(arguments: argparse.Namespace, overrides: Sequence[str]) -> Request:
    """A request whose names are valid and whose store is complete, found out before anything heavy is imported."""
    store = Path(arguments.store).expanduser()
    choices.check("METHOD", arguments.method, choices.methods())
    choices.check(
        "DATA",
        arguments.data,
        choices.datasets(store),
        " Data of your own becomes a name with: make data DATA=<name> SOURCE=<folder with scenes.csv>.",
    )
    choices.check("PROTOCOL", arguments.protocol, choices.protocols())
    if arguments.backbone:
        choices.check("BACKBONE", arguments.backbone, list(choices.BACKBONES))
    ensure_store(arguments.data, store)
    from benchmark.experiment.request import Request

    return Request(
        arguments.method,
        arguments.data,
        arguments.protocol,
        arguments.seed,
        arguments.backbone,
        Path(arguments.runs).expanduser(),
        store,
        arguments.logger,
        tuple(overrides),
    )
