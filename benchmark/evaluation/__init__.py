"""Scoring every modality subset of a model."""

from importlib import import_module
from typing import Any

PLACES = {"MissingModalityEvaluation": "callback", "SubsetConfusion": "subset_confusion"}
__all__ = list(PLACES)


def __getattr__(name: str) -> Any:
    """Import the callback or the metric when asked for: table commands need no torch."""
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
