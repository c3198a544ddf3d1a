"""A scenario: which sensors are damaged, how, and in which severities."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datamodules.damage.catalogue import DAMAGES
from datamodules.damage.fields import Key, field_key
from datamodules.damage.site import Damage
from usererror import UserError

Stage = Literal["stored", "normalised"]
Combinations = Literal["all", "alone", "missing"]


class _Content(BaseModel):
    """The content of a scenario's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(ge=1)
    group: str
    about: str
    damage: str
    kinds: tuple[str, ...] = ()
    stage: Stage = "stored"
    combinations: Combinations = "alone"
    severities: Annotated[dict[str, dict[str, float]], Field(min_length=1)]


@dataclass(frozen=True)
class Scenario:
    """A named, versioned way in which sensors are damaged.

    Everything random is a function of scene, modality, name of the scenario and seed.

    Attributes:
        kinds: of the rasters that suffer it; empty: all.
        stage: whether values are damaged as stored (radar in decibels) or as normalised.
        combinations: which of the sensors are damaged together, while all are at hand: `all`
            non-empty sets of them, each `alone` and then all of them, or `missing`, all sets but
            that of all sensors, since damaged stands for absent.
        severities: by label, the mildest first.
    """

    name: str
    version: int
    group: str
    about: str
    kinds: tuple[str, ...]
    stage: Stage
    combinations: Combinations
    severities: Mapping[str, Damage]
    digest: str  # of the definition
    seed: int = 0

    @classmethod
    def parse(cls, name: str, content: Any, seed: int = 0) -> "Scenario":
        """Read what a scenario's file holds.

        Raises:
            UserError: something is missing, unknown or out of range.

        Example:
            >>> severities = {"a tenth": {"share": 0.1}, "half": {"share": 0.5}}
            >>> content = {"version": 1, "group": "own", "about": "holes", "damage": "holes"}
            >>> scenario = Scenario.parse("gaps", {**content, "severities": severities})
            >>> list(scenario.severities.items())[1]
            ('half', Holes(share=0.5, side=128))
        """
        try:
            read = _Content.model_validate(content)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"])) or "the file"
            raise UserError(f"Scenario {name}: {place}: {fault['msg']}.") from error
        if read.damage not in DAMAGES:
            known = ", ".join(sorted(DAMAGES))
            raise UserError(f"Scenario {name}: there is no damage {read.damage!r}, only {known}.")
        severities = {}
        for label, options in read.severities.items():
            try:
                severities[label] = DAMAGES[read.damage](**options)
            except (TypeError, ValueError) as error:
                text = f"Scenario {name}, severity {label}: {error}"
                raise UserError(f"{text}; it is a setting of {read.damage}.") from error
        text = json.dumps(read.model_dump(exclude={"about", "group"}), sort_keys=False)
        return cls(
            name=name,
            **read.model_dump(exclude={"damage", "severities"}),
            severities=severities,
            digest=hashlib.sha256(text.encode()).hexdigest()[:16],
            seed=seed,
        )

    def affects(self, kind: str) -> bool:
        """Tell whether rasters of a kind suffer it."""
        return not self.kinds or kind in self.kinds

    def key(self, scene: str, modality: str) -> Key:
        """Name the draws for a modality of a scene."""
        return field_key(self.name, scene, modality, self.seed)
