"""The non-empty subsets of a dataset's modalities, in the order of the published tables.

And what else is scored: the network with all of them, some damaged.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

CLEAN = "clean"  # all sensors are at hand, and none is damaged


def modality_subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """List all non-empty subsets, small ones first, each in the given order.

    Example:
        >>> ["+".join(subset) for subset in modality_subsets("RDN")]
        ['R', 'D', 'N', 'R+D', 'R+N', 'D+N', 'R+D+N']
    """
    # the order of the published tables: single sensors first
    subsets: list[tuple[str, ...]] = []
    for size in range(1, len(modalities) + 1):
        subsets += combinations(modalities, size)
    return subsets


def subset_name(subset: Sequence[str], letters: Mapping[str, str]) -> str:
    """Name a subset by the letters of its modalities: `R+D+N`."""
    return "+".join(map(letters.__getitem__, subset))


def damage_case(severity: str, damaged: str) -> str:
    """Name a case by its severity and the letters of what is damaged.

    Example:
        >>> damage_case("2 px", "R+D")
        '2 px:R+D'
    """
    return f"{severity}:{damaged}"
