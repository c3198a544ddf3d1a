"""Whether rasters agree in what their files say: on their ground, and on the order of bands."""

import math
from collections.abc import Mapping
from typing import Any

from datamodules.ingest.journal import Item
from datamodules.ingest.plan import ImportPlan
from datamodules.rasters.placement import REMEDY, TOLERANCE, Grid, describe_shift, match_grids
from datamodules.rasters.source_raster import SourceRaster
from usererror import UserError

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]  # by scene and raster


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


def find_misplaced(plan: ImportPlan, results: Results) -> list[UserError]:
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


def find_swapped_bands(plan: ImportPlan, results: Results) -> list[UserError]:
    """Compare the names of bands between scenes: the same ones in another order are exchanged."""
    errors = []
    first: dict[tuple[str, frozenset[str]], tuple[str, list[str]]] = {}
    for scene in plan.scenes:
        for raster, job in scene.jobs.items():
            names, origin = results[scene.id][raster].get("bands", []), job.source.origin
            # bands that share a name, or have none, cannot be told apart by it
            if len(set(names)) < len(names):
                continue
            other, order = first.setdefault((raster, frozenset(names)), (origin, names))
            if names != order:
                said = f"{origin} has the bands {', '.join(names)}, {other} {', '.join(order)}"
                errors.append(UserError(f"{said}: bring them into one order (gdal_translate -b)."))
    return errors
