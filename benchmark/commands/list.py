"""`imss list`: the names that can be typed; standard library only, so `make help` works before the installation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark import choices


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Print methods, datasets, protocols and backbones."""
    store = Path(arguments.store).expanduser()
    for label, entries in (
        ("METHOD", choices.methods()),
        ("DATA", choices.datasets(store)),
        ("PROTOCOL", choices.protocols()),
        ("BACKBONE", list(choices.BACKBONES)),
        ("LOGGER", list(choices.LOGGERS)),
    ):
        print(f"{label:9} {', '.join(entries)}")
