"""What this suite measured of a paper's numbers, from run records: one entry per protocol."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from benchmark.choices import NO_BACKBONE
from benchmark.formats.files import read_csv_rows
from benchmark.metrics.confusion import Scores
from benchmark.metrics.summaries import SUMMARIES, MeanStd, average_top1_last1, mean_std
from benchmark.papers.printed_numbers import REPORTED, PrintedNumber
from benchmark.records.groups import group_records
from benchmark.records.overrides import describe_overrides
from benchmark.records.record import Record
from benchmark.records.selection import RecordSelection

SUITE = "suite.csv"
ANY_TABLE = "*"
Subset = frozenset[str]  # of letters: papers list them in orders of their own


@dataclass
class Measured:
    """Runs of one protocol for one row of a table."""

    label: str  # protocol, selection rule and what else tells these runs from others of the row
    values: dict[str, MeanStd] = field(default_factory=dict)  # by column, in the unit of the column
    seeds: set[int] = field(default_factory=set)  # how many each group of runs has
    records: dict[str, Record] = field(default_factory=dict)  # by identity


@dataclass(frozen=True)
class MeasuredRuns:
    """Run records by dataset, and the suite's names of papers' ids."""

    selections: Mapping[str, RecordSelection]

    @cached_property
    def names(self) -> dict[tuple[str, str, str], str]:
        """Names by column, id and table."""
        rows = read_csv_rows(REPORTED / SUITE, ("column", "id", "table", "name"))
        return {(row["column"], row["id"], row["table"]): row["name"] for row in rows}

    @cached_property
    def scores(self) -> dict[int, dict[Subset, Scores]]:
        """Scores of every record by subset, under the id of the record."""
        # every record is read for many cells, and scoring it is what takes the time
        found = {}
        for selection in self.selections.values():
            for record in selection.records:
                scores = record.scores()
                found[id(record)] = {Subset(name.split("+")): scores[name] for name in scores}
        return found

    def suite_name(self, column: str, identity: str, table: str) -> str:
        """Look up the suite's name of a paper's id; empty where the file gives none."""
        specific, general = (column, identity, table), (column, identity, ANY_TABLE)
        return self.names.get(specific) or self.names.get(general, "")

    def runs_of(self, number: PrintedNumber) -> dict[str, list[Record]]:
        """Find the runs of a number's method, variant, backbone and dataset, by label."""
        table = number.table
        method = self.suite_name("method", f"{number.method}/{number.variant}", table)
        # without an entry an id is its own name, but an unknown variant is another method
        method = method or (number.method if number.variant == "-" else "")
        backbone = self.suite_name("backbone", number.backbone, table) or number.backbone
        fitting = []
        selection = self.selections.get(number.dataset)
        for record in selection.records if selection else ():
            entry = record.manifest
            if entry.variant == method and backbone in ("-", entry.backbone):
                fitting.append(record)
        groups = group_records(fitting)
        labels = [_label_run(members[0], with_backbone=backbone == "-") for members in groups]
        twins = Counter(labels)
        found = {}
        for label, members in zip(labels, groups, strict=True):
            # groups that would share a label get their hashes: they are never mixed
            group = f", {members[0].manifest.group[:8]}" if twins[label] > 1 else ""
            found[label + group] = members
        return found

    def measure_row(
        self, row: Mapping[str, PrintedNumber], subsets: Mapping[str, frozenset[Subset]]
    ) -> list[Measured]:
        """Measure a row, one entry per label; `subsets` are those that a column summarises."""
        found: dict[str, Measured] = {}
        for column, number in row.items():
            for label, members in self.runs_of(number).items():
                values, wanted = [], subsets.get(column, frozenset())
                for record in members:
                    scores = self.scores[id(record)]
                    values.append(_measure_number(number, record, scores, wanted))
                # a mean over some of the seeds would be another number
                if np.isnan(values).any():
                    continue
                entry = found.setdefault(label, Measured(label))
                entry.values[column] = mean_std(values)
                entry.seeds.add(len(values))
                entry.records |= {record.manifest.identity: record for record in members}
        return list(found.values())


def _label_run(record: Record, with_backbone: bool) -> str:
    entry = record.manifest
    words = [entry.protocol.label]
    if with_backbone and entry.backbone != NO_BACKBONE:
        words.append(entry.backbone)
    return ", ".join(filter(None, [*words, describe_overrides(entry.overrides)]))


def _measure_number(
    number: PrintedNumber, record: Record, scores: dict[Subset, Scores], wanted: frozenset[Subset]
) -> float:
    """Compute the number's metric in per cent, nan where the record has no such number."""
    if number.kind != "summary":
        own = scores.get(Subset(number.combo.split("+")))
        return _metric_value(number.metric, record, own) if own else float("nan")
    values = list(map(partial(_metric_value, number.metric, record), scores.values()))
    # a summary over other subsets than the paper's, or fewer, would be another number
    if set(scores) != wanted or np.isnan(values).any():
        return float("nan")
    return float(average_top1_last1(values)[SUMMARIES.index(number.combo)])


def _metric_value(metric: str, record: Record, scores: Scores) -> float:
    names = [record.labels[label] for label in record.convention.averaged]
    values = {f"F1/{name}": f1 for name, f1 in zip(names, scores.f1, strict=True)}
    values |= {"mIoU": scores.miou, "mF1": scores.mf1, "OA": scores.oa_all}
    return 100 * values.get(metric, float("nan"))
