"""A finished run while sensors are damaged: one evaluation for each scenario."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from benchmark.choices import CONFIGS, scenarios
from benchmark.evaluation.damaged import DamageEvaluation, damaged_modalities
from benchmark.experiment.restore import checkpoint_for
from benchmark.experiment.train import score_checkpoint
from benchmark.records.damage import Damage, DamagedCounts, read_damage, write_damage
from benchmark.records.record import Record, read_record
from datamodules.damage.scenario import Scenario
from usererror import UserError

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI

ALL = "all"


def read_scenarios(words: Sequence[str], seed: int = 0) -> list[Scenario]:
    """Read the scenarios that these words name: a scenario, a group of them, or `all`.

    Raises:
        UserError: there is none of that name.
    """
    shipped = [_read(name, seed) for name in scenarios()]
    chosen: dict[str, Scenario] = {}
    for word in words:
        found = [one for one in shipped if word in (one.name, one.group, ALL)]
        if not found:
            groups = ", ".join(dict.fromkeys(one.group for one in shipped))
            names = ", ".join(one.name for one in shipped)
            text = f"Unknown SCENARIO {word!r}; valid are {ALL}, the groups {groups}"
            raise UserError(f"{text}, and the scenarios {names}.")
        chosen |= {one.name: one for one in found}
    return list(chosen.values())


def _read(name: str, seed: int) -> Scenario:
    path = CONFIGS / "scenario" / f"{name}.yaml"
    return Scenario.parse(name, yaml.safe_load(path.read_text(encoding="utf-8")), seed)


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
    record = read_record(run_dir / "record")
    if cli.datamodule.store.fingerprint != record.manifest.fingerprint:
        text = f"{cli.request.dataset} in {cli.request.store} is not what the run was scored on"
        raise UserError(f"{text} (another fingerprint): its record would mix two datasets.")
    checkpoint, _ = checkpoint_for(run_dir, cli.cell.selection)
    evaluation, callbacks = cli.config_init.evaluation, cli.trainer.callbacks  # type: ignore[attr-defined]
    done = {} if again else {one.damage: one for one in read_damage(record)}
    for number, scenario in enumerate(wanted, start=1):
        damage = describe(scenario)
        if damage not in done:
            if cli.trainer.is_global_zero:
                print(f"{scenario.name} ({number} of {len(wanted)}): {scenario.about}", flush=True)
            options = {key: getattr(evaluation, key) for key in ("stitching", "absent", "block")}
            own = DamageEvaluation(scenario, **options)
            # in the place of the one that scores subsets, or of the scenario before
            places = [isinstance(one, type(evaluation)) for one in callbacks]
            callbacks[places.index(True)] = cli.config_init.evaluation = own
            cli.datamodule.scenario = scenario
            result = score_checkpoint(cli, checkpoint)
            if not cli.trainer.is_global_zero:
                continue
            write_damage(record.path, damage, result)
        yield _find(record, damage)


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


def _find(record: Record, damage: Damage) -> DamagedCounts:
    [found] = [one for one in read_damage(record) if one.damage == damage]
    return found
