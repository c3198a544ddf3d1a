"""A table that says what each scenario of damage is."""

from collections.abc import Iterable

import pandas as pd

from datamodules.damage.scenario import Scenario


def scenario_table(scenarios: Iterable[Scenario]) -> pd.DataFrame:
    """Lay out name, group, sensors, severities and what happens, a line each, by group."""
    rows = []
    for one in sorted(scenarios, key=lambda one: (one.group, one.name)):
        kinds = ", ".join(one.kinds) or "all"
        rows.append((one.name, one.group, kinds, ", ".join(one.severities), one.about))
    return pd.DataFrame(rows, columns=["scenario", "group", "sensors", "severities", "damage"])
