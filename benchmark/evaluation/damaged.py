"""Score a network while all sensors are at hand and some of them are damaged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

from benchmark.evaluation.callback import Entries, MissingModalityEvaluation
from benchmark.metrics.subsets import CLEAN, damage_case, modality_subsets, subset_name
from datamodules.base import SceneDataModule
from datamodules.damage.scenario import Combinations, Scenario
from methods.base import AnyModalitySegmenter
from usererror import UserError


class DamageEvaluation(MissingModalityEvaluation):
    """Score every severity of a scenario with every set of damaged modalities.

    A scenario damages modalities, not sets of them: of M modalities and S severities M (S + 1)
    images are encoded, and any combination of clean and damaged ones is decoded, where a pass for
    each of the sets would encode M images each time. Scenes that lack a modality are not scored, so
    that all cases, and the clean score of all sensors, speak of the same pixels.

    Args:
        scenario: what the test loader damages (`SceneDataModule.scenario`).
        options: of the evaluation that the run was scored with.
    """

    def __init__(self, scenario: Scenario, **options: Any) -> None:
        super().__init__(**options)
        self.scenario = scenario

    def cases(self, data: SceneDataModule) -> Mapping[str, tuple[str, ...]]:
        """Name severities and damaged modalities; every case needs all modalities."""
        names = [CLEAN]
        for severity in self.scenario.severities:
            for damaged in self._sets(data):
                names.append(damage_case(severity, subset_name(damaged, data.letters)))
        return dict.fromkeys(names, tuple(data.modalities))

    def case_entries(
        self,
        model: AnyModalitySegmenter,
        encoded: Mapping[str, Any],
        batch: Mapping[str, Any],
        data: SceneDataModule,
    ) -> Iterator[tuple[str, Entries]]:
        """See the base class."""
        if encoded.keys() != data.modalities.keys():
            return

        yield CLEAN, lambda: encoded
        for place, severity in enumerate(self.scenario.severities):
            # made once for all sets, and of one severity at a time, to bound memory
            encode = cache(partial(_encode_version, model, batch, place))
            for damaged in self._sets(data):
                name = damage_case(severity, subset_name(damaged, data.letters))
                yield name, partial(_replace_entries, encoded, damaged, encode)

    def _sets(self, data: SceneDataModule) -> list[tuple[str, ...]]:
        affected = damaged_modalities(data, self.scenario)
        return damaged_sets(affected, self.scenario.combinations)


def _encode_version(
    model: AnyModalitySegmenter, batch: Mapping[str, Any], place: int, modality: str
) -> Any:
    return model.encode({modality: batch["damaged"][modality][:, place]})[modality]


def _replace_entries(
    encoded: Mapping[str, Any], damaged: Sequence[str], encode: Callable[[str], Any]
) -> Mapping[str, Any]:
    return {**encoded, **{name: encode(name) for name in damaged}}


def damaged_modalities(data: SceneDataModule, scenario: Scenario) -> list[str]:
    """List the modalities of a dataset that suffer a scenario, in table order.

    Raises:
        UserError: there are none.
    """
    kinds = {name: modality.kind for name, modality in data.modalities.items()}
    affected = [name for name, kind in kinds.items() if scenario.affects(kind)]
    if not affected:
        has = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        needs = " or ".join(scenario.kinds)
        raise UserError(f"{data.name} has no sensor for {scenario.name} ({needs}), only {has}.")
    return affected


def damaged_sets(affected: Sequence[str], combinations: Combinations) -> list[tuple[str, ...]]:
    """List the sets of modalities that are damaged together, the largest last.

    Example:
        >>> damaged_sets(["rgb", "dsm"], "missing")
        [('rgb',), ('dsm',)]
        >>> damaged_sets("RDN", "alone")
        [('R',), ('D',), ('N',), ('R', 'D', 'N')]
    """
    sets = modality_subsets(affected)
    if combinations == "missing":
        return sets[:-1]
    if combinations == "alone":
        return [one for one in sets if len(one) in (1, len(affected))]
    return sets
