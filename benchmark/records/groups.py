"""Records that differ in the seed only, their names, and which of them may stand side by side."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmark.records.manifest import Manifest
from benchmark.records.overrides import describe_overrides
from benchmark.records.record import Record

OTHER_COLUMNS = ("method", "mean", "n")  # in tables with a column per class
CONTROL_MARK = " (control)"  # beside the name of a row that is no published method


@dataclass(frozen=True)
class SeedGroup:
    """One method under one configuration, once per seed: a row of a table."""

    members: tuple[Record, ...]  # by seed
    # tells it from a group of the same name whose configuration differs in what no name says
    disambiguation: str = ""

    @property
    def first(self) -> Record:
        """The record of the lowest seed, for all that seeds have in common."""
        return self.members[0]

    @property
    def manifest(self) -> Manifest:
        """The manifest of the lowest seed; it holds for all but the seed."""
        return self.first.manifest

    @property
    def group(self) -> str:
        """Hash of the configuration without seeds."""
        return self.manifest.group

    @property
    def method(self) -> str:
        """The variant, which is what METHOD names."""
        return self.manifest.variant

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return self.manifest.protocol.name

    @property
    def classes(self) -> list[str]:
        """Names of the averaged classes, none that of another column."""
        names = []
        for label in self.first.convention.averaged:
            name = self.first.labels[label]
            names.append(f"{name} (class)" if name in OTHER_COLUMNS else name)
        return names

    @property
    def overrides(self) -> str:
        """What was changed on the command line, and what else tells the row from others."""
        words = [describe_overrides(self.manifest.overrides), self.disambiguation]
        return " ".join(filter(None, words))

    @property
    def marked_method(self) -> str:
        """The method, with a mark beside a baseline."""
        return self.method + (CONTROL_MARK if self.manifest.control else "")

    @property
    def label(self) -> str:
        """The method and whatever tells it from other rows."""
        words = [self.marked_method, self.manifest.backbone, self.overrides]
        return " ".join(filter(None, words))

    def columns(self) -> dict[str, Any]:
        """Name what the numbers of a line belong to: the first columns of every CSV."""
        return {
            "method": self.method,
            "backbone": self.manifest.backbone,
            "protocol": self.protocol,
            "overrides": self.overrides,
            "control": self.manifest.control,
            "seeds": len(self.members),
        }


def group_records(records: Sequence[Record]) -> list[list[Record]]:
    """Put records that differ in the seed only together, by seed."""
    together: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.manifest.seed):
        together.setdefault(record.manifest.group, []).append(record)
    return list(together.values())


def seed_groups(records: Sequence[Record]) -> list[SeedGroup]:
    """Group records that differ in the seed only, in the order of their names."""
    groups = [SeedGroup(tuple(members)) for members in group_records(records)]
    # configurations may differ in what neither name nor overrides say
    names = Counter((group.label, group.protocol) for group in groups)
    for number, group in enumerate(groups):
        if names[group.label, group.protocol] > 1:
            groups[number] = replace(group, disambiguation=f"[{group.group[:6]}]")
    return sorted(groups, key=lambda group: (group.label, group.group))


def short_names(
    groups: Sequence[SeedGroup], naming: Callable[[str], str] | None = None
) -> dict[str, str]:
    """Name the rows of one table, by group; a `naming` of methods leaves the overrides to others.

    The encoder is named where a method stands there with several.
    """
    encoders: dict[str, set[str]] = {}
    for group in groups:
        encoders.setdefault(group.method, set()).add(group.manifest.backbone)
    names = {}
    for group in groups:
        mark = CONTROL_MARK if group.manifest.control else ""
        words = [naming(group.method) + mark if naming else group.marked_method]
        if len(encoders[group.method]) > 1:
            words.append(group.manifest.backbone)
        words.append("" if naming else group.overrides)
        names[group.group] = " ".join(filter(None, words))
    return names


def comparable_groups(groups: Sequence[SeedGroup]) -> dict[str, list[SeedGroup]]:
    """Part groups into those that may be ranked against each other, by a title of what they share.

    They have been scored on the same pixels (split, label kind), under the same subsets and by the
    same convention; the number of outputs may differ. Groups of one protocol's name that differ in
    that stand apart, numbered.
    """
    apart: dict[str, dict[Any, list[SeedGroup]]] = {}
    for group in groups:
        # rows of networks with and without an output for clutter may be compared
        record = group.first
        protocol, convention = record.manifest.protocol, replace(record.convention, outputs=())
        shared = (protocol.split, protocol.score_label, record.subsets, record.labels, convention)
        apart.setdefault(protocol.name, {}).setdefault(shared, []).append(group)
    titles = {}
    for name, parts in sorted(apart.items()):
        for number, members in enumerate(parts.values(), start=1):
            titles[name if len(parts) == 1 else f"{name} ({number})"] = members
    return titles
