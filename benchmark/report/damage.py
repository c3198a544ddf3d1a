"""Scores under damage, a value per seed, as plain lists; empty where no record has such counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.analysis.robustness import damaged_groups
from benchmark.records.groups import SeedGroup
from benchmark.records.selection import Skipped
from benchmark.report.gallery import collect_gallery
from benchmark.report.scores import round_for_json
from benchmark.tracking.damage_images import FOLDER

DIGITS = 4  # of a score in per cent; the page shows two


def damage_scores(groups: Sequence[SeedGroup], skipped: Skipped) -> dict[str, Any]:
    """List the mIoU in per cent of every case that `damaged_groups` finds.

    `scenarios` are {name: {`id`, `group`, `severities`, `sets`}}, sets by their letters. Of a row
    `clean` is `(seeds,)` and `scores` {scenario: (sets, severities, seeds)}. The scenes of
    `gallery` have the ids of scenarios.
    """
    scenarios: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    for row in damaged_groups(groups, skipped):
        scores = {}
        for damage, values in row.scores.items():
            about: dict[str, Any] = {"id": damage.identity, "group": damage.group}
            about |= {"severities": damage.severities, "sets": row.sets[damage]}
            found = scenarios.setdefault(damage.name, about)
            if found["sets"] != row.sets[damage]:
                reason = "its sensors are damaged in other sets than those of the other methods"
                skipped.add(f"{row.group.label} under {damage.name}: {reason}.")
                continue
            scores[damage.name] = round_for_json(np.transpose(values), DIGITS)
        rows[row.group.group] = {"clean": round_for_json(row.clean, DIGITS), "scores": scores}
    if not rows:
        return {}
    remedy = "make robustness FORCE=1 RUN=<run directory>"
    gallery = collect_gallery(groups, skipped, FOLDER, remedy)
    return {"scenarios": scenarios, "rows": rows, "gallery": gallery}
