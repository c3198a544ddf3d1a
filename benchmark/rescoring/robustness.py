"""A finished run while sensors are damaged: one evaluation for each scenario."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.evaluation.damaged import DamageEvaluation, damaged_modalities
from benchmark.records.damage import (
    Damage,
    DamagedCounts,
    read_damage,
    read_scenario,
    write_damage,
)
from benchmark.rescoring.rebuild import score_again, scored_record
from benchmark.tracking.damage_images import store_damage
from datamodules.damage.scenario import Scenario
from usererror import UserError

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI


def fitting_scenarios(
    wanted: Iterable[Scenario], cli: BenchCLI, asked: Sequence[str]
) -> Iterator[Scenario]:
    """Yield the scenarios that the run's sensors suffer.

    Raises:
        UserError: one that was asked for by its own name is for other sensors.
    """
    for scenario in wanted:
        try:
            damaged_modalities(cli.datamodule, scenario)
        except UserError:
            if scenario.name in asked:
                raise
            continue
        yield scenario


def score_scenarios(
    cli: BenchCLI, run_dir: Path, wanted: Sequence[Scenario], again: bool = False
) -> Iterator[DamagedCounts]:
    """Score a run under scenarios, those that it was scored under before excepted.

    Raises:
        UserError: the run has no record, or its data are not those of the record.
    """
    record = scored_record(cli, run_dir)
    done = {} if again else {one.damage: one for one in read_damage(record)}
    for number, scenario in enumerate(wanted, start=1):
        damage = describe(scenario)
        if damage not in done:
            if cli.trainer.is_global_zero:
                print(f"{scenario.name} ({number} of {len(wanted)}): {scenario.about}", flush=True)
            cli.datamodule.scenario = scenario
            result = score_again(cli, run_dir, DamageEvaluation, scenario).result
            if not cli.trainer.is_global_zero or result is None:
                continue
            write_damage(record.path, damage, result)
            store_damage(cli.model, cli.datamodule, run_dir, damage.name, damage.identity)
            done[damage] = read_scenario(record, scenario.name)
        yield done[damage]


def describe(scenario: Scenario) -> Damage:
    """Say of a scenario what its counts need."""
    return Damage(
        name=scenario.name,
        version=scenario.version,
        digest=scenario.digest,
        seed=scenario.seed,
        group=scenario.group,
        combinations=scenario.combinations,
        severities=tuple(scenario.severities),
    )
