"""Whether the rasters of a scene lie on the same ground, as their files say."""

import math
from collections.abc import Mapping
from typing import Any

from datamodules.ingest.journal import Item
from datamodules.ingest.plan import ImportPlan
from datamodules.rasters.placement import REMEDY, TOLERANCE, Grid, describe_shift, match_grids
from datamodules.rasters.source_raster import SourceRaster
from usererror import UserError


def find_place(raster: SourceRaster, item: Item) -> tuple[Grid, list[str]]:
    """Return where the raster lies, and what was found beside the scene's reference.

    Rows in the other order are read from the last one on; any other difference is an error.
    """
    dataset, job, shown = raster.dataset, item.job, item.job.source.origin
    unasked = math.isinf(job.place_tolerance)
    try:
        own = Grid.from_dataset(dataset, shown)
        if item.place is None:
            return own, []
        other, names = Grid.from_json(item.place), (shown, item.reference)
        match = match_grids(own, other, names, stretched=job.resize)
    except UserError as error:
        if not unasked:
            raise
        return Grid(dataset.height, dataset.width, None, None), [f"not asked: {error}"]
    if match.shift > job.place_tolerance:
        apart = describe_shift(own, other, names, match)
        raise UserError(f"{apart}: {REMEDY}, or say ALIGN=ignore if the pixels lie right.")
    notes = []
    if match.shift > TOLERANCE:
        # the note itself begins with the file's name
        notes.append(describe_shift(own, other, ("it", item.reference), match))
    if unasked or not match.upside_down:
        return own, notes
    raster.upside_down = True
    return own.turned(), [*notes, "its rows run the other way than the scene's and were turned"]


def find_misplaced(
    plan: ImportPlan, results: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> list[UserError]:
    """Compare the rasters of scenes whose reference has no place: with the first that has one."""
    errors = []
    for scene in plan.scenes:
        first: tuple[str, Grid] | None = None
        for raster, job in scene.jobs.items():
            place = results[scene.id][raster].get("place")
            if not place or not place["transform"] or math.isinf(job.place_tolerance):
                continue
            name, own = job.source.origin, Grid.from_json(place)
            if first is None:
                first = name, own
                continue
            names = name, first[0]
            match = match_grids(own, first[1], names, stretched=job.resize)
            if match.upside_down or match.shift > job.place_tolerance:
                problem = describe_shift(own, first[1], names, match)
                errors.append(UserError(f"{problem}: {REMEDY}, or say ALIGN=ignore."))
    return errors
