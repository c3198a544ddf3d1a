"""What this suite measured of a paper's cells, from run records: mean and std over seeds, one entry per protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.choices import NO_BACKBONE
from benchmark.leaderboard.notes import MARK
from benchmark.metrics.confusion import Scores
from benchmark.metrics.summaries import SUMMARIES, average_top1_last1, mean_std
from benchmark.papers.printed_numbers import REPORTED, PrintedNumber, read_csv_rows
from benchmark.records.record import Record

SUITE = "suite.csv"
ANY = "*"


@dataclass
class Measured:
    """Runs of one protocol for one row of a table.

    Attributes:
        label: protocol, selection rule and what else tells these runs from others of the row.
        values: by column of the paper, mean and std (ddof 1; nan for one seed) in the unit of the column.
        seeds: number of seeds of every group of runs that entered.
        records: the runs.
    """

    label: str
    values: dict[str, tuple[float, float]] = field(default_factory=dict)
    seeds: set[int] = field(default_factory=set)
    records: dict[str, Record] = field(default_factory=dict)


@dataclass(frozen=True)
class Runs:
    """Run records by dataset, what was left out of them, and the names that papers' ids have in this suite."""

    by_data: Mapping[str, Sequence[Record]]
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    directory: Path = REPORTED

    @cached_property
    def names(self) -> dict[tuple[str, str, str], str]:
        """The suite's name by column, id and table (`*`: all tables)."""
        rows = read_csv_rows(self.directory / SUITE, ("column", "id", "table", "name"))
        return {(row["column"], row["id"], row["table"]): row["name"] for row in rows}

    def name(self, column: str, identity: str, table: str) -> str | None:
        """The name in this suite, None where the file gives none."""
        return self.names.get((column, identity, table)) or self.names.get((column, identity, ANY))

    @cached_property
    def scores(self) -> dict[int, dict[frozenset[str], Scores]]:
        """Scores of every record by subset of letters; the order in which a paper lists them does not matter."""
        return {
            id(record): {
                frozenset(name.split("+")): scores for name, scores in record.scores().items()
            }
            for records in self.by_data.values()
            for record in records
        }

    def of(self, cell: PrintedNumber) -> dict[str, list[Record]]:
        """The records of the cell's method, variant, backbone and dataset, by label; seeds of one group together."""
        method = self.name("method", f"{cell.method}/{cell.variant}", cell.table)
        if method is None:
            if cell.variant != "-":
                return {}
            method = cell.method
        backbone = self.name("backbone", cell.backbone, cell.table) or cell.backbone
        groups: dict[str, list[Record]] = {}
        for record in self.by_data.get(cell.dataset, []):
            entry = record.manifest
            if entry["variant"] == method and (backbone in ("-", entry["backbone"])):
                groups.setdefault(entry["group"], []).append(record)
        return _labelled(list(groups.values()), with_backbone=backbone == "-")


def _labelled(groups: list[list[Record]], with_backbone: bool) -> dict[str, list[Record]]:
    """Groups by a label for readers; where two would share it, their hashes are added: they are never mixed."""
    labels = [_label(members[0], with_backbone) for members in groups]
    return {
        label
        if labels.count(label) == 1
        else f"{label}, {members[0].manifest['group'][:8]}": members
        for label, members in zip(labels, groups, strict=True)
    }


def _label(record: Record, with_backbone: bool) -> str:
    entry, protocol = record.manifest, record.manifest["protocol"]
    mark = MARK if protocol.get("split_note") else ""
    words = [protocol["name"] + mark, protocol.get("selected", protocol.get("selection", ""))]
    words += [entry["backbone"]] if with_backbone and entry["backbone"] != NO_BACKBONE else []
    return ", ".join([*words, *entry.get("overrides", [])])


def measure(
    cells: Mapping[str, PrintedNumber],
    row_subsets: Mapping[str, frozenset[frozenset[str]]],
    runs: Runs,
) -> list[Measured]:
    """What was measured of a row's cells, by column; one entry per label.

    `row_subsets` holds, by column of a summary, the subsets that the paper summarises: a record with other subsets has
    no comparable Average, Top-1 and Last-1.
    """
    found: dict[str, Measured] = {}
    for column, cell in cells.items():
        for label, members in runs.of(cell).items():
            subsets = row_subsets.get(column, frozenset())
            values = [_value(cell, record, runs.scores[id(record)], subsets) for record in members]
            if np.isnan(values).any():
                continue
            entry = found.setdefault(label, Measured(label))
            entry.values[column] = mean_std(values)
            entry.seeds.add(len(values))
            entry.records |= {record.manifest["identity"]: record for record in members}
    return list(found.values())


def _value(
    cell: PrintedNumber,
    record: Record,
    scores: Mapping[frozenset[str], Scores],
    subsets: frozenset[frozenset[str]],
) -> float:
    """The cell's metric in per cent, nan where the record has no such number."""
    if cell.kind == "summary":
        values = [
            _metric(cell.metric, record, scores[subset]) for subset in subsets if subset in scores
        ]
        if set(scores) != subsets or np.isnan(values).any():
            return float("nan")
        return average_top1_last1(values)[SUMMARIES.index(cell.combo)]
    own = scores.get(frozenset(cell.combo.split("+")))
    return float("nan") if own is None else _metric(cell.metric, record, own)


def _metric(metric: str, record: Record, scores: Scores) -> float:
    simple = {"mIoU": scores.miou, "mF1": scores.mf1, "OA": scores.oa_all}
    if metric in simple:
        return 100 * simple[metric]
    classes = [record.labels[label] for label in record.convention.averaged]
    name = metric.removeprefix("F1/")
    return (
        100 * scores.f1[classes.index(name)]
        if metric.startswith("F1/") and name in classes
        else float("nan")
    )
