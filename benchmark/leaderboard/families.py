"""Which row stands for its family where a board has more rows than a reader can take in."""

from collections import Counter
from collections.abc import Collection, Sequence

from benchmark.method_table import method_entry
from benchmark.records.groups import SeedGroup

MOST_ROWS = 12  # that are printed whole at the end of a run
BEST = 4  # heads of each kind that are printed of more


def family_heads(groups: Sequence[SeedGroup]) -> dict[str, str]:
    """Name the row that stands for each row's family, both by their group.

    `groups` are ranked, best first. The baselines of a family have a head of their own: they are
    what its methods are measured against. A method as its paper or library has it comes before its
    variants, and these before rows with other settings, which may have been trained longer; of
    several alike the best one.
    """
    families: dict[tuple[str, bool], list[SeedGroup]] = {}
    for group in groups:
        families.setdefault((method_entry(group.method).family, is_baseline(group)), []).append(
            group
        )
    heads: dict[str, str] = {}
    for members in families.values():
        # the first of several alike, which is the best
        head = min(members, key=lambda group: (bool(group.overrides), _is_variant(group)))
        heads |= {group.group: head.group for group in members}
    return heads


def is_baseline(group: SeedGroup) -> bool:
    """Tell whether a row is there to compare with, and is no published method."""
    return group.manifest.control or method_entry(group.method).kind == "control"


def _is_variant(group: SeedGroup) -> bool:
    return method_entry(group.method).kind == "variant"


def leading_rows(groups: Sequence[SeedGroup], own: Collection[str]) -> list[SeedGroup]:
    """Choose the rows of a short table, of ranked groups: `own`, and the best families' heads.

    They are the best of the published methods, of the baselines, and of methods of a user's own.
    """
    if len(groups) <= MOST_ROWS:
        return list(groups)
    heads, found = family_heads(groups), Counter[tuple[bool, bool]]()
    chosen = []
    for group in groups:
        kind = (is_baseline(group), method_entry(group.method).kind == "own")
        is_head = heads[group.group] == group.group
        found[kind] += is_head
        if group.group in own or (is_head and found[kind] <= BEST):
            chosen.append(group)
    return chosen
