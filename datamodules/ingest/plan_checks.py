"""What an import plan must fulfil before any pixel is read; a breach is one error with a remedy."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

from datamodules.ingest.plan import Adapter, ImportOptions, ImportPlan
from datamodules.splits.tables import list_names
from usererror import UserError

MAX_NAMED = 12  # missing files that are named in the error


def check_plan(plan: ImportPlan, source: Path, options: ImportOptions, adapter: Adapter) -> None:
    """Raise UserError for missing files (unless allowed), unused rasters, double ids, no scenes."""
    if plan.missing and not options.allow_incomplete:
        # several rasters may wait for one file
        names = list(dict.fromkeys(missing.expected for missing in plan.missing))
        files = f"{len(names)} needed file(s) of {plan.title} are missing below {source}"
        remedy = "Add them, or go on without them: INCOMPLETE=1 (--allow-incomplete)"
        named = list_names(names, MAX_NAMED)
        raise UserError(f"{files}: {named}. {remedy}. {adapter.obtain}")
    if not plan.scenes:
        lacking = f"No scene of {plan.title} below {source} has both a modality and a label"
        raise UserError(f"{lacking}. {adapter.obtain}")
    id_, count = Counter(scene.id for scene in plan.scenes).most_common(1)[0]
    if count > 1:
        raise UserError(f"The scene id {id_!r} occurs more than once: ids must be unique.")
    used = set().union(*(scene.jobs for scene in plan.scenes))
    for raster in (*(modality.name for modality in plan.modalities), *plan.labels):
        if raster not in used:
            raise UserError(f"{raster!r} has no file in any scene: give it files or take it out.")


def keep_usable_splits(plan: ImportPlan, options: ImportOptions) -> None:
    """Drop split columns without train or test scenes, if the user chose scenes or allowed gaps."""
    chosen = options.tiles is not None or options.allow_incomplete
    usable = {}
    for column, parts in plan.splits.items():
        values = {scene.splits[column] for scene in plan.scenes}
        empty = [part for part in parts if part not in values]
        if empty and not chosen:
            raise UserError(f"The {empty[0]} part of {column} is empty in {plan.title}: fill it.")
        # without validation scenes a run selects its last checkpoint
        if {"train", "test"} <= values:
            usable[column] = parts
        else:
            lacking = " and ".join(part for part in ("train", "test") if part not in values)
            plan.warnings.append(f"{column} is left out: no scene here is in its {lacking} part")
        if empty == ["val"]:
            plan.warnings.append(f"{column} has no val scenes among those imported")
    if not usable:
        raise UserError(f"No split of {plan.title} has train and test scenes: import more scenes.")
    plan.splits = usable


def apply_options(plan: ImportPlan, options: ImportOptions) -> None:
    """Tell the jobs what the user said of all or some rasters, and what their modality says."""
    have = [*(modality.name for modality in plan.modalities), *plan.labels]
    if unknown := set(options.ignore_nodata) - set(have):
        raise UserError(f"There is no raster {min(unknown)!r}; there are: {', '.join(have)}.")
    clips = {modality.name: modality.clip_db for modality in plan.modalities}
    for scene in plan.scenes:
        for raster, job in scene.jobs.items():
            may = job.may_reference and not options.copy
            believe = job.believe and raster not in options.ignore_nodata
            job = replace(job, may_reference=may, believe=believe, clip_db=clips.get(raster))
            if options.align == "ignore":
                job = replace(job, place_tolerance=math.inf)
            scene.jobs[raster] = job
