"""Scoring every modality subset of a model."""

from typing import Any

__all__ = ["MissingModalityEvaluation", "SubsetConfusion"]


def __getattr__(name: str) -> Any:
    """Import the callback or the metric when asked for: table commands need no torch."""
    if name == "SubsetConfusion":
        from benchmark.evaluation.subset_confusion import SubsetConfusion

        return SubsetConfusion
    if name == "MissingModalityEvaluation":
        from benchmark.evaluation.callback import MissingModalityEvaluation

        return MissingModalityEvaluation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
