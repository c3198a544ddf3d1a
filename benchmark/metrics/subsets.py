"""The non-empty subsets of a dataset's modalities, in the order of the published tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations


def modality_subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """All 2^M - 1 non-empty subsets, small ones first, each in the given order: R, D, N, R+D, R+N, D+N, R+D+N."""
    return [
        subset
        for size in range(1, len(modalities) + 1)
        for subset in combinations(modalities, size)
    ]


def subset_name(subset: Sequence[str], letters: Mapping[str, str]) -> str:
    """`R+D+N` from modality names."""
    return "+".join(letters[name] for name in subset)
