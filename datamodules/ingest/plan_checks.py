"""What an import plan must fulfil before any pixel is read; every breach is one error that says what to do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from datamodules.ingest.plan import Adapter, ImportOptions, ImportPlan
from usererror import UserError

NAMED = 12  # missing files that are named in the error


def check_plan(plan: ImportPlan, source: Path, options: ImportOptions, adapter: Adapter) -> None:
    """Raise UserError for a plan with missing files (unless allowed), unused modalities, double ids or no scenes."""
    if plan.missing and not options.allow_incomplete:
        names = list(dict.fromkeys(m.expected for m in plan.missing))
        shown = ", ".join(names[:NAMED]) + (
            f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        )
        raise UserError(
            f"{len(names)} needed file(s) of {plan.title} are missing below {source}: {shown}. Add them, or go on "
            f"without them: INCOMPLETE=1 (--allow-incomplete). {adapter.obtain}"
        )
    if not plan.scenes:
        raise UserError(
            f"No scene of {plan.title} below {source} has both a modality and a label. {adapter.obtain}"
        )
    twice = [id_ for id_, n in Counter(s.id for s in plan.scenes).items() if n > 1]
    if twice:
        raise UserError(f"The scene id {twice[0]!r} occurs more than once: ids must be unique.")
    for raster in [*(m.name for m in plan.modalities), *plan.labels]:
        if not any(raster in scene.jobs for scene in plan.scenes):
            raise UserError(f"{raster!r} has no file in any scene: give it files or take it out.")


def usable_splits(plan: ImportPlan, options: ImportOptions) -> None:
    """Take split columns without train or test scenes out of the plan, if the user chose scenes or allowed gaps.

    Raises UserError when a part is empty that should not be and nobody asked for less, or when no column remains.
    """
    chosen = options.tiles is not None or options.allow_incomplete
    usable = {}
    for column, parts in plan.splits.items():
        values = {scene.splits[column] for scene in plan.scenes}
        empty = [part for part in parts if part not in values]
        if empty and not chosen:
            raise UserError(
                f"The {empty[0]} part of {column} is empty: no scene of {plan.title} is in it."
            )
        if {"train", "test"} <= values:
            usable[column] = parts
        else:
            plan.warnings.append(
                f"{column} is left out: no scene imported is in its {' and '.join(empty)} part"
            )
        if empty == ["val"]:
            plan.warnings.append(f"{column} has no val scenes among those imported")
    if not usable:
        raise UserError(
            f"No split of {plan.title} has both train and test scenes here: import more scenes."
        )
    plan.splits = usable
