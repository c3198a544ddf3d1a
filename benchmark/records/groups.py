"""Rows of a table: records that differ in the seed only, their names, and which rows may stand side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.metrics.confusion import ClassCounts, Convention, Counts, class_counts
from benchmark.metrics.result import ALL
from benchmark.records.record import Record


@dataclass(frozen=True)
class SeedGroup:
    """One method under one configuration, once per seed.

    Attributes:
        members: its records, by seed.
        disambiguation: tells it from a group of the same name whose configuration differs in what
            no name says; else empty.
    """

    members: tuple[Record, ...]
    disambiguation: str = ""

    @property
    def first(self) -> Record:
        """The record of the lowest seed, for all that seeds have in common."""
        return self.members[0]

    @property
    def group(self) -> str:
        """Hash of the configuration without seeds."""
        return str(self.first.manifest["group"])

    @property
    def method(self) -> str:
        """The variant, which is what METHOD names."""
        return str(self.first.manifest["variant"])

    @property
    def classes(self) -> list[str]:
        """Names of the averaged classes."""
        return [self.first.labels[label] for label in self.first.convention.averaged]

    @property
    def overrides(self) -> str:
        """What was changed on the command line."""
        return " ".join(self.first.manifest.get("overrides", []))

    @property
    def label(self) -> str:
        """The method and whatever tells it from other rows."""
        manifest = self.first.manifest
        mark = CONTROL_MARK if manifest.get("control", False) else ""
        return " ".join(
            filter(
                None,
                [self.method + mark, manifest["backbone"], self.overrides, self.disambiguation],
            )
        )

    def columns(self) -> dict[str, Any]:
        """The first columns of every CSV: what the numbers of a line belong to."""
        manifest = self.first.manifest
        return {
            "method": self.method,
            "backbone": manifest["backbone"],
            "protocol": manifest["protocol"]["name"],
            "overrides": self.overrides,
            "control": bool(manifest.get("control", False)),
            "seeds": len(self.members),
        }


def seed_groups(records: Sequence[Record]) -> list[SeedGroup]:
    """Rows in the order of their names."""
    rows = [
        SeedGroup(tuple(sorted(members, key=lambda entry: entry.manifest["seed"])))
        for members in group_records(records)
    ]
    names = Counter((row.label, row.first.manifest["protocol"]["name"]) for row in rows)
    twins = {name for name, number in names.items() if number > 1}
    rows = [
        replace(row, disambiguation=f"[{row.group[:6]}]")
        if (row.label, row.first.manifest["protocol"]["name"]) in twins
        else row
        for row in rows
    ]
    return sorted(rows, key=lambda row: (row.label, row.group))


def comparable_groups(rows: Sequence[SeedGroup]) -> dict[str, list[SeedGroup]]:
    """Rows that may be ranked against each other, by a title that says what they share.

    They have been scored on the same pixels (split, label kind), under the same subsets and by the same convention;
    the number of outputs may differ. Rows of one protocol's name that differ in that stand apart, numbered.
    """
    apart: dict[str, dict[str, list[SeedGroup]]] = {}
    for row in rows:
        protocol, convention = row.first.manifest["protocol"], row.first.manifest["convention"]
        shared = [
            protocol.get("split"),
            protocol.get("score_label"),
            row.first.subsets,
            row.first.labels,
        ]
        shared += [convention[name] for name in ("averaged", "ignored", "absent", "regions")]
        apart.setdefault(protocol["name"], {}).setdefault(json.dumps(shared), []).append(row)
    titles = {}
    for name, parts in sorted(apart.items()):
        for number, members in enumerate(parts.values(), start=1):
            titles[name if len(parts) == 1 else f"{name} ({number})"] = members
    return titles


def region_counts(record: Record, counts: Counts, regions: Sequence[str] | None) -> Counts:
    """Sum ... x regions x labels x outputs over the named regions (None: all, which is the full label)."""
    chosen = [record.regions.index(name) for name in (regions or record.regions)]
    return np.asarray(counts[..., chosen, :, :].sum(-3, dtype=np.int64))


def pooled_counts(
    record: Record, convention: Convention, regions: Sequence[str] | None
) -> ClassCounts:
    """Counts per averaged class over all scenes, each `(subsets, classes)`."""
    whole = record.counts[:, record.conditions.index(ALL)]
    return class_counts(region_counts(record, whole, regions), convention)


CONTROL_MARK = " (control)"  # beside the name of a row that is no published method


def group_records(records: Sequence[Record]) -> list[list[Record]]:
    """Records that differ in the seed only, together."""
    together: dict[str, list[Record]] = {}
    for record in records:
        together.setdefault(record.manifest["group"], []).append(record)
    return list(together.values())
