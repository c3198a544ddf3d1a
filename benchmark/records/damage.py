"""Counts of a run while sensors were damaged: `scenarios/<name>.npz` in its record.

Cases are the network with all sensors and nothing damaged, `clean`, and every severity of the
scenario with every set of damaged sensors. Their counts are those of a record without its scenes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.metrics.confusion import Counts, Floats, score_matrices
from benchmark.metrics.result import ALL, EvaluationResult, sum_regions
from benchmark.metrics.subsets import CLEAN, damage_case
from benchmark.records.arrays import DAMAGE, as_names, check_counts, read_arrays
from benchmark.records.record import SCENARIOS, Record, write_npz
from usererror import UserError

ABSENCE = "absence"  # the group of scenarios in which a damaged sensor stands for a missing one
AXES = ("cases", "conditions", "regions", "labels")


@dataclass(frozen=True)
class Damage:
    """What of a scenario decided the counts, and what tables say of it."""

    name: str
    version: int
    digest: str  # of the definition
    seed: int
    group: str
    combinations: str
    severities: tuple[str, ...]  # the mildest first

    @property
    def identity(self) -> str:
        """What tells this definition and its draws from others of the same name."""
        return f"{self.name} {self.digest[:8]} {self.seed}"

    def to_json(self) -> str:
        """Write it as one line."""
        return json.dumps(vars(self), ensure_ascii=False)


@dataclass(frozen=True)
class DamagedCounts:
    """Counts of one scenario, read back."""

    damage: Damage
    record: Record
    cases: tuple[str, ...]
    conditions: tuple[str, ...]
    counts: Counts  # `(cases, conditions, regions, labels, outputs)`

    @property
    def sets(self) -> tuple[str, ...]:
        """The letters of what was damaged together, in the order of the cases."""
        first = self.damage.severities[0]
        return tuple(
            letters for case in self.cases for severity, _, letters in [case.partition(":")]
            if severity == first and letters
        )  # fmt: skip

    def miou(self, condition: str = ALL) -> tuple[float, Floats]:
        """Score in per cent: the clean network, and `(severities, sets)` of the damaged one."""
        convention = self.record.convention
        counts = self.counts[:, self.conditions.index(condition)]
        matrices = sum_regions(counts, self.record.regions, convention.regions)
        scores = [100 * entry.miou for entry in score_matrices(matrices, convention)]
        by_case = dict(zip(self.cases, scores, strict=True))
        rows = [
            [by_case[damage_case(severity, letters)] for letters in self.sets]
            for severity in self.damage.severities
        ]
        return by_case[CLEAN], np.array(rows)


def damage_path(record: Path, scenario: str) -> Path:
    """Say where the counts of a scenario lie in a record."""
    return record / SCENARIOS / f"{scenario}.npz"


def write_damage(record: Path, damage: Damage, result: EvaluationResult) -> Path:
    """Write the counts of all cases; a file that is there is whole."""
    conditions, counts, scored = result.pooled()
    path = damage_path(record, damage.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {"cases": result.subsets, "conditions": conditions}
    names |= {"regions": result.regions, "labels": result.labels}
    arrays: dict[str, Any] = {key: np.array(value, dtype=str) for key, value in names.items()}
    arrays |= {"damage": np.array(damage.to_json()), "counts": counts, "scored": scored}
    write_npz(path, arrays)
    return path


def read_damage(record: Record) -> Iterator[DamagedCounts]:
    """Read the counts of every scenario that a run was scored under.

    Raises:
        UserError: a file is damaged, or does not fit the record.
    """
    for path in sorted((record.path / SCENARIOS).glob("*.npz")):
        yield read_scenario(record, path.stem)


def read_scenario(record: Record, scenario: str) -> DamagedCounts:
    """Read the counts of one scenario, which are there; raises as `read_damage` does."""
    path = damage_path(record.path, scenario)
    again = f"make it again with: make robustness SCENARIO={scenario} FORCE=1"
    try:
        found = read_arrays(path, (*AXES, "damage", "counts"))
        axes = {key: as_names(found[key]) for key in AXES}
        counts = check_counts(found["counts"]).astype(np.int64)
        about = _read_about(found["damage"].item())
    except DAMAGE as error:
        raise UserError(f"{path} is damaged ({error}); {again}.") from error
    own = DamagedCounts(about, record, axes["cases"], axes["conditions"], counts)
    shape = (*map(len, axes.values()), len(record.convention.outputs))
    fits = (axes["regions"], axes["labels"]) == (record.regions, record.labels)
    expected = {CLEAN, *(damage_case(s, d) for s in about.severities for d in own.sets)}
    if not fits or counts.shape != shape or set(own.cases) != expected:
        raise UserError(f"{path} does not fit its record; {again}.")
    return own


def _read_about(text: str) -> Damage:
    content: Mapping[str, Any] = json.loads(text)
    about = Damage(**{**content, "severities": tuple(content["severities"])})
    if not about.severities:
        raise ValueError("there is no severity")
    return about
