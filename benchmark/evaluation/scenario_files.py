"""The shipped scenarios of damage: one file each in configs/scenario."""

from collections.abc import Sequence

import yaml

from benchmark.choices import CONFIGS, scenarios, validate_choice
from datamodules.damage.scenario import Scenario

ALL = "all"


def read_scenarios(words: Sequence[str] = (ALL,), seed: int = 0) -> list[Scenario]:
    """Read the scenarios of these names or groups, or `all`; `seed` is that of their draws.

    Raises:
        UserError: there is none of that name.
    """
    shipped = []
    for name in scenarios():
        text = (CONFIGS / "scenario" / f"{name}.yaml").read_text(encoding="utf-8")
        shipped.append(Scenario.parse(name, yaml.safe_load(text), seed))
    names = [ALL, *sorted({one.group for one in shipped}), *(one.name for one in shipped)]
    for word in words:
        validate_choice("SCENARIO", word, names)
    return [one for one in shipped if {one.name, one.group, ALL} & set(words)]
