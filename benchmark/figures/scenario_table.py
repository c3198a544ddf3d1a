"""The shipped scenarios of damage, and a table that says what each of them is."""

from collections.abc import Iterable, Sequence

import pandas as pd
import yaml

from benchmark import choices
from datamodules.damage.scenario import Scenario


def read_scenarios(words: Sequence[str] = ()) -> list[Scenario]:
    """Read the scenarios of these names or groups, by default all.

    Raises:
        UserError: there is none of that name.
    """
    shipped = []
    for name in choices.scenarios():
        text = (choices.CONFIGS / "scenario" / f"{name}.yaml").read_text(encoding="utf-8")
        shipped.append(Scenario.parse(name, yaml.safe_load(text)))
    names = [one.name for one in shipped] + sorted({one.group for one in shipped})
    for word in words:
        choices.validate_choice("scenario", word, names)
    return [one for one in shipped if not words or {one.name, one.group} & set(words)]


def scenario_table(scenarios: Iterable[Scenario]) -> pd.DataFrame:
    """Lay out name, group, sensors, severities and what happens, a line each, by group."""
    rows = []
    for one in sorted(scenarios, key=lambda one: (one.group, one.name)):
        kinds = ", ".join(one.kinds) or "all"
        rows.append((one.name, one.group, kinds, ", ".join(one.severities), one.about))
    return pd.DataFrame(rows, columns=["scenario", "group", "sensors", "severities", "damage"])
